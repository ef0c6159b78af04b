"""What PGP_SPLIT2_v1 does with a request, whatever framework brings it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgp_services.causes import digest_of
from pgp_services.clients.changenow import Pair
from pgp_services.clients.cloud_tasks import NewTask
from pgp_services.serving.answers import done
from pgp_services.serving.bodies import token_in
from pgp_services.serving.routes import Route
from pgp_services.tokens import EstimateAnswer, EstimateRequest, sign, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from pgp_services.clients.changenow import ChangeNowClient, Estimate
    from pgp_services.clients.cloud_tasks import Target, TasksClient
    from pgp_services.provided import Provided
    from pgp_services.serving.answers import Answer
    from pgp_services.serving.routes import Call

#: Where SPLIT1 takes estimates.
ANSWER_PATH = "/usdt-eth-estimate"

#: Where BATCHPROCESSOR looks for payouts that have reached their threshold.
PROCESS_PATH = "/process"


class Split2Handler:
    """Handles `POST /`; usable from threads and from coroutines.

    Args:
        signing_key: The secret SUCCESS_URL_SIGNING_KEY.
        changenow: Asks ChangeNow.
        tasks: Creates tasks.
        split1: Where the estimate goes.
        batchprocessor: Told of an estimate that counts towards a threshold.
        clock: Unix time in seconds; a test gives its own.
    """

    def __init__(
        self,
        *,
        signing_key: Provided[SecretStr],
        changenow: ChangeNowClient,
        tasks: TasksClient,
        split1: Target,
        batchprocessor: Target,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._signing_key = signing_key
        self._changenow = changenow
        self._tasks = tasks
        self._split1 = split1
        self._batchprocessor = batchprocessor
        self._clock = clock

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [Route("/", self.estimate, self.estimate_async)]

    def estimate(self, call: Call) -> Answer:
        """Ask ChangeNow, and tell SPLIT1.

        Raises:
            ServiceFailure: If that cannot be done.
            PgpConfigError: If a secret has no usable value.
        """
        key = self._signing_key()
        request = verify(EstimateRequest, token_in(call.body), key, self._clock())
        estimate = self._changenow.estimate(pair_of(request))
        cause = digest_of(request, call)
        task = answer_task(request, estimate, key, cause)
        self._tasks.create(self._split1, task)
        if request.payout_mode == "threshold":
            self._tasks.create(self._batchprocessor, process_task(cause))
        return accepted(task)

    async def estimate_async(self, call: Call) -> Answer:
        """As `estimate`, from a coroutine."""
        key = await self._signing_key.async_()
        request = verify(EstimateRequest, token_in(call.body), key, self._clock())
        estimate = await self._changenow.estimate_async(pair_of(request))
        cause = digest_of(request, call)
        task = answer_task(request, estimate, key, cause)
        await self._tasks.create_async(self._split1, task)
        if request.payout_mode == "threshold":
            await self._tasks.create_async(self._batchprocessor, process_task(cause))
        return accepted(task)

    def close(self) -> None:
        """Close the connections of this process."""
        self._changenow.close()
        self._tasks.close()

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._changenow.aclose()
        await self._tasks.aclose()


def pair_of(request: EstimateRequest) -> Pair:
    """What to ask ChangeNow."""
    return Pair(
        from_currency=request.swap_currency,
        to_currency=request.payout_currency,
        to_network=request.payout_network,
        amount=request.adjusted_amount,
    )


def answer_task(
    request: EstimateRequest, estimate: Estimate, key: SecretStr, cause: str
) -> NewTask:
    """The call that tells SPLIT1 the estimate; its name is the same whatever ChangeNow says and whenever.

    The amount is the one asked about, to the last digit: ChangeNow's numbers are JavaScript's, and what it says of it
    may be more. The time is the request's, which is the payment's: SPLIT1 refuses to pay what is too old.
    """
    identity = request.model_dump(exclude={"adjusted_amount", "timestamp"})
    claims = EstimateAnswer(
        **identity,
        from_amount=request.adjusted_amount,
        to_amount_post_fee=estimate.to_amount,
        deposit_fee=estimate.deposit_fee,
        withdrawal_fee=estimate.withdrawal_fee,
        timestamp=request.timestamp,
    )
    return NewTask(f"{cause}-split2-estimate", ANSWER_PATH, {"token": sign(claims, key)})


def process_task(cause: str) -> NewTask:
    """The call that has BATCHPROCESSOR look whether a threshold is reached; it knows the amounts itself."""
    return NewTask(f"{cause}-split2-process", PROCESS_PATH, {})


def accepted(task: NewTask) -> Answer:
    """The answer to a request whose task exists."""
    return done("Estimate sent to SPLIT1", task_id=task.task_id)
