"""What PGP_NOTIFICATIONS_v1 reads, and what it is made of."""

from __future__ import annotations

from dependency_injector import providers

from pgp_services import catalogue
from pgp_services.fleet import WithDatabase, WithTelegram
from pgp_services.names import Service
from pgp_services.notifications.handler import NotificationsHandler


class Notifications(WithDatabase, WithTelegram):
    """The secrets of PGP_NOTIFICATIONS_v1, each by the name that the catalogue gives it, and its parts."""

    reload_policy = catalogue.policy_of(Service.NOTIFICATIONS)

    handler = providers.Singleton(NotificationsHandler, telegram=WithTelegram.telegram)
