"""What PGP_BATCHPROCESSOR_v1 does with a request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from pgp_services.causes import digest
from pgp_services.serving.bodies import model_in
from pgp_services.serving.routes import Route
from pgp_services.task_handler import TaskHandler, handed_on
from pgp_services.tokens import Batch, BatchDue, BatchPayout, Facts, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from pgp_services.clients.cloud_tasks import Target, TasksClient
    from pgp_services.provided import Provided
    from pgp_services.serving.answers import Answer
    from pgp_services.serving.routes import Call

#: Where SPLIT1 takes batches.
PAYOUT_PATH = "/batch-payout"

#: Batches of one request, at most: as many tasks as can be created within a request's time.
MOST = 50


class Due(Facts):
    """What has reached its threshold; nothing, where the service is only woken.

    Attributes:
        due: Tokens of `BatchDue`.
    """

    due: list[Annotated[str, Field(min_length=1)]] = Field(
        default_factory=list, max_length=MOST, repr=False
    )


class BatchProcessorHandler(TaskHandler):
    """Handles `POST /process`, of the scheduler and of SPLIT2.

    Args:
        signing_key: The secret SUCCESS_URL_SIGNING_KEY.
        payout_key: The secret TPS_HOSTPAY_SIGNING_KEY.
        tasks: Creates tasks.
        split1: Where batches go.
        clock: Unix time in seconds; a test gives its own.
    """

    def __init__(
        self,
        *,
        signing_key: Provided[SecretStr],
        payout_key: Provided[SecretStr],
        tasks: TasksClient,
        split1: Target,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(tasks, clock=clock)
        self._signing_key = signing_key
        self._payout_key = payout_key
        self._split1 = split1

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [Route("/process", self.process)]

    def process(self, call: Call) -> Answer:
        """Have SPLIT1 pay out what is due. A bad token, or a late one, among them stops all, before anything is sent."""
        due = self._due(call)
        tasks = [self._send(batch) for batch in due]
        return handed_on("Batches sent to SPLIT1" if tasks else "Nothing is due", *tasks)

    def _due(self, call: Call) -> list[BatchDue]:
        key, now = self._signing_key(), self._clock()
        due = [verify(BatchDue, token, key, now) for token in model_in(Due, call.body).due]
        for batch in due:
            self.require_on_time(batch.timestamp)
        return due

    def _send(self, batch: BatchDue) -> str:
        payout = BatchPayout(
            **batch.model_dump(include=set(Batch.model_fields)), timestamp=batch.timestamp
        )
        name = f"{digest('batch', batch.batch_id)}-payout"
        return self.hand_on(self._split1, name, PAYOUT_PATH, payout, self._payout_key())
