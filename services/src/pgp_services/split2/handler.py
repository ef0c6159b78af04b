"""What PGP_SPLIT2_v1 does with a request, whatever framework brings it."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from pgp_config import PgpConfigError
from pgp_services.clients.changenow import Pair
from pgp_services.clients.cloud_tasks import NewTask
from pgp_services.failures import BadRequest, ServiceFailure, TooLarge, Unavailable
from pgp_services.fleet import UNKNOWN_CONDUCT
from pgp_services.tokens import EstimateAnswer, EstimateRequest, sign, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import SecretStr

    from pgp_services.clients.changenow import ChangeNowClient, Estimate
    from pgp_services.clients.cloud_tasks import Target, TasksClient
    from pgp_services.fleet import Conduct, Operations
    from pgp_services.provided import Provided

SERVICE = "PGP_SPLIT2_v1"

#: Where SPLIT1 takes estimates.
ANSWER_PATH = "/usdt-eth-estimate"

#: Bytes of a request's body, at most; a token is far shorter.
MAX_BODY = 65536

#: Seconds after which a caller may come back, unless the other side asked for more; and the most that
#: is handed on.
RETRY_AFTER, LONGEST_RETRY_AFTER = 5, 300


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller gets.

    Attributes:
        status: The HTTP status.
        content: Sent as JSON.
        headers: Sent besides what the framework adds.
    """

    status: int
    content: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)


class Split2Handler:
    """Handles `POST /`; usable from threads and from coroutines.

    Args:
        signing_key: The secret SUCCESS_URL_SIGNING_KEY.
        operations: The fleet's common settings.
        changenow: Asks ChangeNow.
        tasks: Creates tasks.
        split1: Where the estimate goes.
        clock: Unix time in seconds; a test gives its own.
    """

    def __init__(
        self,
        *,
        signing_key: Provided[SecretStr],
        operations: Operations,
        changenow: ChangeNowClient,
        tasks: TasksClient,
        split1: Target,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._signing_key = signing_key
        self._operations = operations
        self._changenow = changenow
        self._tasks = tasks
        self._split1 = split1
        self._clock = clock

    def handle(self, body: bytes) -> Answer:
        """Answer a request.

        Args:
            body: Its body, as it came; `MAX_BODY` and one more byte at most need be read.
        """
        conduct = UNKNOWN_CONDUCT
        try:
            conduct = self._operations.conduct().applied()
            key = self._signing_key()
            request = verify(EstimateRequest, token_in(body), key, self._clock())
            estimate = self._changenow.estimate(pair_of(request))
            task = answer_task(request, estimate, key, self._clock())
            answer = accepted(self._tasks.create(self._split1, task))
        except Exception as failure:  # noqa: BLE001  no exception text may reach the caller or the framework's log
            answer = refused(failure)
            return _reported(conduct, answer, failure)
        return _reported(conduct, answer)

    async def handle_async(self, body: bytes) -> Answer:
        """As `handle`, from a coroutine."""
        conduct = UNKNOWN_CONDUCT
        try:
            conduct = (await self._operations.conduct_async()).applied()
            key = await self._signing_key.async_()
            request = verify(EstimateRequest, token_in(body), key, self._clock())
            estimate = await self._changenow.estimate_async(pair_of(request))
            task = answer_task(request, estimate, key, self._clock())
            answer = accepted(await self._tasks.create_async(self._split1, task))
        except Exception as failure:  # noqa: BLE001  as above
            answer = refused(failure)
            return _reported(conduct, answer, failure)
        return _reported(conduct, answer)

    def close(self) -> None:
        """Close the connections of this process."""
        self._changenow.close()
        self._tasks.close()

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._changenow.aclose()
        await self._tasks.aclose()


def token_in(body: bytes) -> str:
    """The token in a request's body.

    Raises:
        BadRequest: If the body is not a JSON object with a text `token`.
        TooLarge: If it is longer than `MAX_BODY`.
    """
    if len(body) > MAX_BODY:
        raise TooLarge("the body is too long")
    token = _json_object(body).get("token")
    if not isinstance(token, str) or not token:
        raise BadRequest("the body has no token")
    return token


def _json_object(body: bytes) -> dict[str, object]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise BadRequest("the body is not a JSON object")
    return content


def pair_of(request: EstimateRequest) -> Pair:
    """What to ask ChangeNow."""
    return Pair(
        from_currency=request.swap_currency,
        to_currency=request.payout_currency,
        to_network=request.payout_network,
        amount=request.adjusted_amount,
    )


def answer_task(
    request: EstimateRequest, estimate: Estimate, key: SecretStr, now: float
) -> NewTask:
    """The call that tells SPLIT1 the estimate."""
    identity = request.model_dump(exclude={"adjusted_amount", "timestamp"})
    claims = EstimateAnswer(
        **identity,
        from_amount=estimate.from_amount,
        to_amount_post_fee=estimate.to_amount,
        deposit_fee=estimate.deposit_fee,
        withdrawal_fee=estimate.withdrawal_fee,
        timestamp=int(now),
    )
    return NewTask(task_id(request), ANSWER_PATH, {"token": sign(claims, key)})


def task_id(request: EstimateRequest) -> str:
    """The task's name: the same for the same claims, whatever ChangeNow says and whenever."""
    canonical = json.dumps(request.model_dump(mode="json"), sort_keys=True)
    return f"{hashlib.sha256(canonical.encode()).hexdigest()}-split2-estimate"


def accepted(task: str) -> Answer:
    """The answer to a request whose task exists."""
    return Answer(
        200, {"status": "success", "message": "Estimate sent to SPLIT1", "task_id": task}
    )


def refused(failure: Exception) -> Answer:
    """The answer to a request that failed: fixed words only."""
    if isinstance(failure, PgpConfigError):
        failure = Unavailable("a secret")
    if not isinstance(failure, ServiceFailure):
        failure = ServiceFailure("unexpected")
    headers = {}
    if isinstance(failure, Unavailable):
        wanted = math.ceil(failure.retry_after or 0)
        headers["Retry-After"] = str(min(max(wanted, RETRY_AFTER), LONGEST_RETRY_AFTER))
    return Answer(failure.status, {"status": "error", "message": failure.message}, headers)


def refused_by_framework(status: int, headers: Mapping[str, str]) -> Answer:
    """The answer to a request that never came to the handler: an unknown path, a wrong method."""
    return Answer(status, {"status": "error", "message": HTTPStatus(status).phrase}, headers)


def _reported(conduct: Conduct, answer: Answer, failure: Exception | None = None) -> Answer:
    what = "sent" if failure is None else _described(failure)
    conduct.report(SERVICE, answer.status, what)
    return answer


def _described(failure: Exception) -> str:
    """A failure for the log. Of one that is not ours the text may hold anything: only its place."""
    if isinstance(failure, ServiceFailure | PgpConfigError):
        return f"{type(failure).__name__}: {failure}"
    frame = failure.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = "" if frame is None else f" at {frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
    return f"unexpected {type(failure).__name__}{place}"
