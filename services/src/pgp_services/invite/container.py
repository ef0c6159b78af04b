"""What PGP_INVITE_v1 reads, and what it is made of."""

from __future__ import annotations

from dependency_injector import providers

from pgp_services import catalogue
from pgp_services.fleet import WithDatabase, WithTelegram
from pgp_services.invite.handler import InviteHandler
from pgp_services.names import Service


class Invite(WithDatabase, WithTelegram):
    """The secrets of PGP_INVITE_v1, each by the name that the catalogue gives it, and its parts."""

    reload_policy = catalogue.policy_of(Service.INVITE)

    success_url_signing_key = catalogue.SUCCESS_URL_SIGNING_KEY.secret()

    handler = providers.Singleton(
        InviteHandler, signing_key=success_url_signing_key, telegram=WithTelegram.telegram
    )
