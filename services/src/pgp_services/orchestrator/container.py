"""What PGP_ORCHESTRATOR_v1 reads, and what it is made of."""

from __future__ import annotations

from dependency_injector import providers

from pgp_services import catalogue
from pgp_services.clients.cloud_tasks import Target
from pgp_services.fleet import WithDatabase, WithTasks
from pgp_services.names import Service
from pgp_services.orchestrator.handler import OrchestratorHandler


class Orchestrator(WithDatabase, WithTasks):
    """The secrets of PGP_ORCHESTRATOR_v1, each by the name that the catalogue gives it, and its parts."""

    reload_policy = catalogue.policy_of(Service.ORCHESTRATOR)

    success_url_signing_key = catalogue.SUCCESS_URL_SIGNING_KEY.secret()

    success_url_signing_key_secondary = catalogue.SUCCESS_URL_SIGNING_KEY_SECONDARY.secret()
    pgp_invite_queue = catalogue.PGP_INVITE_QUEUE.secret()
    pgp_invite_url = catalogue.PGP_INVITE_URL.secret()
    pgp_split1_estimate_queue = catalogue.PGP_SPLIT1_ESTIMATE_QUEUE.secret()
    pgp_split1_url = catalogue.PGP_SPLIT1_URL.secret()
    pgp_accumulator_queue = catalogue.PGP_ACCUMULATOR_QUEUE.secret()
    pgp_accumulator_url = catalogue.PGP_ACCUMULATOR_URL.secret()

    invite = providers.Singleton(Target, pgp_invite_queue, pgp_invite_url)
    split1 = providers.Singleton(Target, pgp_split1_estimate_queue, pgp_split1_url)
    accumulator = providers.Singleton(Target, pgp_accumulator_queue, pgp_accumulator_url)
    handler = providers.Singleton(
        OrchestratorHandler,
        signing_key=success_url_signing_key,
        secondary_key=success_url_signing_key_secondary,
        tasks=WithTasks.tasks,
        invite=invite,
        split1=split1,
        accumulator=accumulator,
    )
