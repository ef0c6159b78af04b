"""What PGP_SPLIT1_v1 reads, and what it is made of."""

from __future__ import annotations

from dependency_injector import providers

from pgp_services import catalogue
from pgp_services.clients.cloud_tasks import Target
from pgp_services.fleet import WithDatabase, WithTasks
from pgp_services.names import Service
from pgp_services.split1.handler import Split1Handler


class Split1(WithDatabase, WithTasks):
    """The secrets of PGP_SPLIT1_v1, each by the name that the catalogue gives it, and its parts."""

    reload_policy = catalogue.policy_of(Service.SPLIT1)

    success_url_signing_key = catalogue.SUCCESS_URL_SIGNING_KEY.secret()
    tps_hostpay_signing_key = catalogue.TPS_HOSTPAY_SIGNING_KEY.secret()

    tp_flat_fee = catalogue.TP_FLAT_FEE.secret()
    pgp_split2_swap_queue = catalogue.PGP_SPLIT2_SWAP_QUEUE.secret()
    pgp_split2_response_queue = catalogue.PGP_SPLIT2_RESPONSE_QUEUE.secret()
    pgp_split2_url = catalogue.PGP_SPLIT2_URL.secret()
    pgp_hostpay_trigger_queue = catalogue.PGP_HOSTPAY_TRIGGER_QUEUE.secret()
    pgp_hostpay1_url = catalogue.PGP_HOSTPAY1_URL.secret()

    split2 = providers.Singleton(Target, pgp_split2_swap_queue, pgp_split2_url)
    split2_anew = providers.Singleton(Target, pgp_split2_response_queue, pgp_split2_url)
    hostpay1 = providers.Singleton(Target, pgp_hostpay_trigger_queue, pgp_hostpay1_url)
    handler = providers.Singleton(
        Split1Handler,
        signing_key=success_url_signing_key,
        payout_key=tps_hostpay_signing_key,
        flat_fee=tp_flat_fee,
        tasks=WithTasks.tasks,
        split2=split2,
        split2_anew=split2_anew,
        hostpay1=hostpay1,
    )
