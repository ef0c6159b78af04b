"""What PGP_NP_IPN_v1 reads, and what it is made of."""

from __future__ import annotations

from dependency_injector import providers

from pgp_services import catalogue
from pgp_services.clients.cloud_tasks import Target
from pgp_services.fleet import WithDatabase, WithTasks
from pgp_services.names import Service
from pgp_services.np_ipn.handler import NpIpnHandler


class NpIpn(WithDatabase, WithTasks):
    """The secrets of PGP_NP_IPN_v1, each by the name that the catalogue gives it, and its parts."""

    reload_policy = catalogue.policy_of(Service.NP_IPN)

    nowpayments_ipn_secret = catalogue.NOWPAYMENTS_IPN_SECRET.key_ring()
    pgp_orchestrator_queue = catalogue.PGP_ORCHESTRATOR_QUEUE.secret()
    pgp_orchestrator_url = catalogue.PGP_ORCHESTRATOR_URL.secret()
    pgp_notification_queue = catalogue.PGP_NOTIFICATION_QUEUE.secret()
    pgp_notification_url = catalogue.PGP_NOTIFICATION_URL.secret()

    orchestrator = providers.Singleton(Target, pgp_orchestrator_queue, pgp_orchestrator_url)
    notifications = providers.Singleton(Target, pgp_notification_queue, pgp_notification_url)
    handler = providers.Singleton(
        NpIpnHandler,
        ipn_keys=nowpayments_ipn_secret,
        tasks=WithTasks.tasks,
        orchestrator=orchestrator,
        notifications=notifications,
    )
