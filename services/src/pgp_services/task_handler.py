"""What the handlers of the money flow have in common: signed tasks, time, and an end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from pgp_services.clients.cloud_tasks import NewTask
from pgp_services.failures import Refused
from pgp_services.serving.answers import done
from pgp_services.serving.bodies import token_in
from pgp_services.tokens import PAY_WITHIN, sign, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from pgp_services.clients.cloud_tasks import Target, TasksClient
    from pgp_services.serving.answers import Answer
    from pgp_services.serving.routes import Call
    from pgp_services.tokens import Claims, Keys

C = TypeVar("C", bound="Claims")


class TooLate(Refused):
    """The time in which a payment may be begun is over: it may have been paid, and somebody has to look."""


class Client(Protocol):
    """A client with connections."""

    def close(self) -> None:
        """Close those of this process."""
        ...

    async def aclose(self) -> None:
        """Close those of the running loop."""
        ...


class TaskHandler:
    """Base of the handlers; used from threads.

    A request's last act is the task that moves money on: what a repeat of the request finds is either
    nothing done, or that task by its name.

    Args:
        tasks: Creates tasks.
        clients: The other clients, to be closed at the end.
        clock: Unix time in seconds; a test gives its own.
    """

    def __init__(
        self, tasks: TasksClient, *clients: Client, clock: Callable[[], float] = time.time
    ) -> None:
        self._tasks = tasks
        self._clients = (*clients, tasks)
        self._clock = clock

    def now(self) -> int:
        """Unix time in whole seconds, for a token that is made now."""
        return int(self._clock())

    def claims_in(self, kind: type[C], call: Call, keys: Keys) -> C:
        """The claims of the token in a request.

        Raises:
            BadRequest: If there is no token.
            BadToken: If it is not of that kind, not signed by one of the keys, or out of its time.
        """
        return verify(kind, token_in(call.body), keys, self._clock())

    def require_on_time(self, begun_at: int) -> None:
        """See that a payment that was caused at a time may still be begun.

        Args:
            begun_at: Unix time in seconds of its first cause, as all tokens in front of a payout carry it.

        Raises:
            TooLate: If it is more than `PAY_WITHIN` ago.
        """
        if self.now() > begun_at + PAY_WITHIN:
            raise TooLate("a payment is told of too late: look whether it was paid")

    def hand_on(
        self,
        target: Target,
        task_id: str,
        path: str,
        claims: Claims,
        key: SecretStr,
        *,
        delay: float = 0.0,
    ) -> str:
        """Create a task that carries claims as a token.

        Args:
            target: Who gets it.
            task_id: Its name, by what caused it.
            path: The path of the call.
            claims: What it says.
            key: The key that signs it.
            delay: Seconds until the call is made at the earliest, 0 or more.

        Returns:
            Its name.

        Raises:
            TasksUnavailable: If it could not be created.
            PgpConfigError: If a secret has no usable value.
        """
        return self._tasks.create(
            target, NewTask(task_id, path, {"token": sign(claims, key)}, delay)
        )

    def close(self) -> None:
        """Close the connections of this process."""
        for client in self._clients:
            client.close()

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        for client in self._clients:
            await client.aclose()


def handed_on(message: str, *task_ids: str) -> Answer:
    """The answer to a request whose tasks exist.

    Args:
        message: What was done.
        task_ids: The names of the tasks; none where nothing is left to do.
    """
    return done(message, task_ids=list(task_ids))
