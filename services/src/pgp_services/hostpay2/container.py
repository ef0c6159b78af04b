"""What PGP_HOSTPAY2_v1 reads, and what it is made of."""

from __future__ import annotations

from dependency_injector import providers

from pgp_services import catalogue
from pgp_services.clients.cloud_tasks import Target
from pgp_services.fleet import WithChangeNow, WithTasks
from pgp_services.hostpay2.handler import HostPay2Handler
from pgp_services.names import Service


class HostPay2(WithTasks, WithChangeNow):
    """The secrets of PGP_HOSTPAY2_v1, each by the name that the catalogue gives it, and its parts."""

    reload_policy = catalogue.policy_of(Service.HOSTPAY2)

    success_url_signing_key = catalogue.SUCCESS_URL_SIGNING_KEY.secret()

    pgp_hostpay1_response_queue = catalogue.PGP_HOSTPAY1_RESPONSE_QUEUE.secret()
    pgp_hostpay1_url = catalogue.PGP_HOSTPAY1_URL.secret()

    hostpay1 = providers.Singleton(Target, pgp_hostpay1_response_queue, pgp_hostpay1_url)
    handler = providers.Singleton(
        HostPay2Handler,
        signing_key=success_url_signing_key,
        changenow=WithChangeNow.changenow,
        tasks=WithTasks.tasks,
        hostpay1=hostpay1,
    )
