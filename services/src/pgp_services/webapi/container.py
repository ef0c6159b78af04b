"""What PGP_WEBAPI_v1 reads, and what it is made of."""

from __future__ import annotations

from dependency_injector import providers

from pgp_services import catalogue
from pgp_services.fleet import WithDatabase
from pgp_services.names import Service
from pgp_services.webapi.handler import WebApiHandler


class WebApi(WithDatabase):
    """The secrets of PGP_WEBAPI_v1, each by the name that the catalogue gives it, and its parts."""

    reload_policy = catalogue.policy_of(Service.WEBAPI)

    jwt_secret_key = catalogue.JWT_SECRET_KEY.secret()
    signup_secret_key = catalogue.SIGNUP_SECRET_KEY.secret()

    pgp_success_url = catalogue.PGP_SUCCESS_URL.secret()
    pgp_failure_url = catalogue.PGP_FAILURE_URL.secret()
    pgp_server_url = catalogue.PGP_SERVER_URL.secret()

    handler = providers.Singleton(
        WebApiHandler,
        jwt_key=jwt_secret_key,
        sign_up_key=signup_secret_key,
        success_url=pgp_success_url,
        failure_url=pgp_failure_url,
        server_url=pgp_server_url,
    )
