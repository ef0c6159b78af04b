"""What PGP_MICROBATCHPROCESSOR_v1 reads, and what it is made of."""

from __future__ import annotations

from dependency_injector import providers

from pgp_services import catalogue
from pgp_services.clients.cloud_tasks import Target
from pgp_services.fleet import WithChangeNow, WithDatabase, WithTasks
from pgp_services.microbatchprocessor.handler import MicroBatchProcessorHandler
from pgp_services.names import Service


class MicroBatchProcessor(WithDatabase, WithTasks, WithChangeNow):
    """The secrets of PGP_MICROBATCHPROCESSOR_v1, each by the catalogue's name for it, and its parts."""

    reload_policy = catalogue.policy_of(Service.MICROBATCHPROCESSOR)

    success_url_signing_key = catalogue.SUCCESS_URL_SIGNING_KEY.secret()

    pgp_hostpay_trigger_queue = catalogue.PGP_HOSTPAY_TRIGGER_QUEUE.secret()
    pgp_hostpay1_url = catalogue.PGP_HOSTPAY1_URL.secret()

    hostpay1 = providers.Singleton(Target, pgp_hostpay_trigger_queue, pgp_hostpay1_url)
    handler = providers.Singleton(
        MicroBatchProcessorHandler,
        signing_key=success_url_signing_key,
        changenow=WithChangeNow.changenow,
        tasks=WithTasks.tasks,
        hostpay1=hostpay1,
    )
