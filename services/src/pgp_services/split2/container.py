"""What PGP_SPLIT2_v1 reads, and what it is made of."""

from __future__ import annotations

from dependency_injector import providers

from pgp_services import catalogue
from pgp_services.clients.cloud_tasks import Target
from pgp_services.fleet import WithChangeNow, WithDatabase, WithTasks
from pgp_services.names import Service
from pgp_services.split2.handler import Split2Handler


class Split2(WithDatabase, WithTasks, WithChangeNow):
    """The secrets of PGP_SPLIT2_v1, each by the name that the catalogue gives it, and its parts."""

    reload_policy = catalogue.policy_of(Service.SPLIT2)

    success_url_signing_key = catalogue.SUCCESS_URL_SIGNING_KEY.secret()

    pgp_split1_response_queue = catalogue.PGP_SPLIT1_RESPONSE_QUEUE.secret()
    pgp_split1_url = catalogue.PGP_SPLIT1_URL.secret()
    pgp_batchprocessor_queue = catalogue.PGP_BATCHPROCESSOR_QUEUE.secret()
    pgp_batchprocessor_url = catalogue.PGP_BATCHPROCESSOR_URL.secret()

    split1 = providers.Singleton(Target, pgp_split1_response_queue, pgp_split1_url)
    batchprocessor = providers.Singleton(Target, pgp_batchprocessor_queue, pgp_batchprocessor_url)
    handler = providers.Singleton(
        Split2Handler,
        signing_key=success_url_signing_key,
        changenow=WithChangeNow.changenow,
        tasks=WithTasks.tasks,
        split1=split1,
        batchprocessor=batchprocessor,
    )
