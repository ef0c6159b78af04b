"""What PGP_WEB_v1 reads, and what it is made of."""

from __future__ import annotations

from dependency_injector import providers

from pgp_services import catalogue
from pgp_services.fleet import Fleet
from pgp_services.names import Service
from pgp_services.web.handler import WebHandler


class Web(Fleet):
    """The secrets of PGP_WEB_v1, which are no secrets, and its parts."""

    reload_policy = catalogue.policy_of(Service.WEB)

    pgp_success_url = catalogue.PGP_SUCCESS_URL.secret()
    pgp_failure_url = catalogue.PGP_FAILURE_URL.secret()

    handler = providers.Singleton(
        WebHandler, success_url=pgp_success_url, failure_url=pgp_failure_url
    )
