"""One request: its settings, its answer, its line in the log, and an alert where it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pgp_config import PgpConfigError
from pgp_services.causes import TASK_NAME
from pgp_services.failures import ServiceFailure
from pgp_services.fleet import UNKNOWN_CONDUCT
from pgp_services.names import PUBLIC
from pgp_services.serving.answers import refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pgp_services.fleet import Conduct, Operations
    from pgp_services.names import Service
    from pgp_services.serving.answers import Answer
    from pgp_services.serving.routes import Call


class Alerts(Protocol):
    """Tells people; never raises, and returns within seconds."""

    def send(self, text: str) -> None:
        """Tell them."""
        ...

    async def send_async(self, text: str) -> None:
        """As `send`, from a coroutine."""
        ...

    def close(self) -> None:
        """Close what is open in this process; idempotent."""
        ...

    async def aclose(self) -> None:
        """Close what is open in the running loop; idempotent."""
        ...


class Responder:
    """Answers requests; no exception, and no text of one, comes out of it.

    Args:
        service: Whose requests they are.
        operations: The common settings.
        alerts: Told of failures that are not the caller's, of tasks that fail for good, and of an answer's alarm, while ALERTING_ENABLED; None for
            the log alone.
    """

    def __init__(
        self, service: Service, operations: Operations, alerts: Alerts | None = None
    ) -> None:
        self._service = service
        self._operations = operations
        self._alerts = alerts

    def respond(self, handle: Callable[[Call], Answer], call: Call) -> Answer:
        """Answer a request.

        Args:
            handle: Does what is asked.
            call: The request.
        """
        conduct, failure = UNKNOWN_CONDUCT, None
        try:
            conduct = self._operations.conduct().applied()
            answer = handle(call)
        except Exception as raised:  # noqa: BLE001  no exception text may reach the caller or the framework's log
            answer, failure = refused(raised), raised
        alert = self._report(conduct, call, answer, failure)
        if alert is not None and self._alerts is not None:
            self._alerts.send(alert)
        return answer

    async def respond_async(
        self, handle: Callable[[Call], Awaitable[Answer]], call: Call
    ) -> Answer:
        """As `respond`, from a coroutine."""
        conduct, failure = UNKNOWN_CONDUCT, None
        try:
            conduct = (await self._operations.conduct_async()).applied()
            answer = await handle(call)
        except Exception as raised:  # noqa: BLE001  as above
            answer, failure = refused(raised), raised
        alert = self._report(conduct, call, answer, failure)
        if alert is not None and self._alerts is not None:
            await self._alerts.send_async(alert)
        return answer

    def _report(
        self, conduct: Conduct, call: Call, answer: Answer, failure: Exception | None
    ) -> str | None:
        """The line in the log; the text of the alert, if it is worth one."""
        # Those that the world calls take no tasks, and the header from nobody.
        of_a_task = TASK_NAME in call.headers and self._service not in PUBLIC
        what = _told(answer, failure)
        return conduct.report(
            self._service, answer.status, what, of_a_task=of_a_task, alarming=bool(answer.alarm)
        )


def _told(answer: Answer, failure: Exception | None) -> str:
    return answer.alarm or answer.message if failure is None else described(failure)


def described(failure: Exception) -> str:
    """A failure for the log. Of one that is not ours the text may hold anything: only its place."""
    if isinstance(failure, ServiceFailure | PgpConfigError):
        return f"{type(failure).__name__}: {failure}"
    frame = failure.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = "" if frame is None else f" at {frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
    return f"unexpected {type(failure).__name__}{place}"
