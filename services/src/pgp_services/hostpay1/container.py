"""What PGP_HOSTPAY1_v1 reads, and what it is made of."""

from __future__ import annotations

from dependency_injector import providers

from pgp_services import catalogue
from pgp_services.clients.cloud_tasks import Target
from pgp_services.fleet import WithChangeNow, WithDatabase, WithTasks
from pgp_services.hostpay1.handler import HostPay1Handler
from pgp_services.names import Service


class HostPay1(WithDatabase, WithTasks, WithChangeNow):
    """The secrets of PGP_HOSTPAY1_v1, each by the name that the catalogue gives it, and its parts."""

    reload_policy = catalogue.policy_of(Service.HOSTPAY1)

    tps_hostpay_signing_key = catalogue.TPS_HOSTPAY_SIGNING_KEY.secret()
    success_url_signing_key = catalogue.SUCCESS_URL_SIGNING_KEY.secret()

    pgp_hostpay1_url = catalogue.PGP_HOSTPAY1_URL.secret()
    pgp_hostpay1_response_queue = catalogue.PGP_HOSTPAY1_RESPONSE_QUEUE.secret()
    pgp_hostpay2_queue = catalogue.PGP_HOSTPAY2_QUEUE.secret()
    pgp_hostpay2_url = catalogue.PGP_HOSTPAY2_URL.secret()
    pgp_hostpay3_queue = catalogue.PGP_HOSTPAY3_QUEUE.secret()
    pgp_hostpay3_url = catalogue.PGP_HOSTPAY3_URL.secret()
    tps_hostpay_signing_key_secondary = catalogue.TPS_HOSTPAY_SIGNING_KEY_SECONDARY.secret()

    itself = providers.Singleton(Target, pgp_hostpay1_response_queue, pgp_hostpay1_url)
    hostpay2 = providers.Singleton(Target, pgp_hostpay2_queue, pgp_hostpay2_url)
    hostpay3 = providers.Singleton(Target, pgp_hostpay3_queue, pgp_hostpay3_url)
    handler = providers.Singleton(
        HostPay1Handler,
        payout_key=tps_hostpay_signing_key,
        secondary_payout_key=tps_hostpay_signing_key_secondary,
        signing_key=success_url_signing_key,
        changenow=WithChangeNow.changenow,
        tasks=WithTasks.tasks,
        itself=itself,
        hostpay2=hostpay2,
        hostpay3=hostpay3,
    )
