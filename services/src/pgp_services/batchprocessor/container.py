"""What PGP_BATCHPROCESSOR_v1 reads, and what it is made of."""

from __future__ import annotations

from dependency_injector import providers

from pgp_services import catalogue
from pgp_services.batchprocessor.handler import BatchProcessorHandler
from pgp_services.clients.cloud_tasks import Target
from pgp_services.fleet import WithDatabase, WithTasks
from pgp_services.names import Service


class BatchProcessor(WithDatabase, WithTasks):
    """The secrets of PGP_BATCHPROCESSOR_v1, each by the name that the catalogue gives it, and its parts."""

    reload_policy = catalogue.policy_of(Service.BATCHPROCESSOR)

    success_url_signing_key = catalogue.SUCCESS_URL_SIGNING_KEY.secret()
    tps_hostpay_signing_key = catalogue.TPS_HOSTPAY_SIGNING_KEY.secret()

    pgp_split1_estimate_queue = catalogue.PGP_SPLIT1_ESTIMATE_QUEUE.secret()
    pgp_split1_url = catalogue.PGP_SPLIT1_URL.secret()

    split1 = providers.Singleton(Target, pgp_split1_estimate_queue, pgp_split1_url)
    handler = providers.Singleton(
        BatchProcessorHandler,
        signing_key=success_url_signing_key,
        payout_key=tps_hostpay_signing_key,
        tasks=WithTasks.tasks,
        split1=split1,
    )
