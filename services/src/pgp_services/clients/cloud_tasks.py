"""Cloud Tasks: an HTTP call to another service of the fleet, made later, once, and with an identity.

A task's name comes from what caused it, so that a repeat is dropped by Cloud Tasks.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import google.auth
import grpc  # type: ignore[import-untyped]  # grpcio has no types
from google.api_core.exceptions import AlreadyExists, GoogleAPICallError
from google.auth.exceptions import GoogleAuthError
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks import transports

from pgp_config import DeclarationError
from pgp_services.clients.connections import PerLoop, PerProcess, is_loopback
from pgp_services.clients.retries import Course, RetryPolicy, retrying, retrying_async
from pgp_services.failures import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgp_services.provided import Provided

#: Bounds of one creation. The library's own are 20 s an attempt, and no retry.
POLICY = RetryPolicy(budget=4.0, attempt=1.5)

#: Seconds that a task may be delayed, at most (https://cloud.google.com/tasks/docs/quotas).
LONGEST_DELAY = 30 * 86400.0

#: What may be gone at the next attempt. A repeat is harmless: the task has a name.
_PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
    }
)

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


class TasksUnavailable(Unavailable):
    """The task could not be created."""


@dataclass(frozen=True, slots=True)
class Target:
    """A service of the fleet that takes tasks: its queue and its base URL, as secrets.

    Attributes:
        queue: Gives the id of its queue.
        base_url: Gives `https://` and its host, without a closing slash.
    """

    queue: Provided[str]
    base_url: Provided[str]

    def place(self) -> Place:
        """Where a task goes, by the values that the current request sees."""
        return Place(self.queue(), self.base_url())

    async def place_async(self) -> Place:
        """As `place`, from a coroutine."""
        return Place(await self.queue.async_(), await self.base_url.async_())


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task goes.

    Attributes:
        queue: The id of a queue.
        base_url: `https://` and a host, without a closing slash; also the audience of the identity
            token, as Cloud Run wants it.
    """

    queue: str
    base_url: str


@dataclass(frozen=True, slots=True)
class NewTask:
    """A call to be made.

    Attributes:
        task_id: Letters, digits, hyphens and underscores, at most 500. Derive it from what caused the
            task, and begin it with a hash: Cloud Tasks slows down on names in sequence.
        path: The path of the call, beginning with a slash.
        body: Sent as JSON.
        delay: Seconds from its creation until the call is made at the earliest, 0 to 30 days.

    Raises:
        ValueError: If the delay is out of bounds.
    """

    task_id: str
    path: str
    body: Mapping[str, object] = field(repr=False)
    delay: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.delay <= LONGEST_DELAY:
            raise ValueError("A task is delayed by 0 s to 30 days.")

    def schedule_time(self) -> datetime | None:
        """When the call is made at the earliest, if not at once."""
        return datetime.now(UTC) + timedelta(seconds=self.delay) if self.delay else None


class _Creation(Course):
    """One creation with all its attempts.

    It keeps the request out of its callers' locals, which show what it holds: a token, say.

    Args:
        request: What Cloud Tasks is asked.
        policy: The bounds of the call.
    """

    def __init__(self, request: tasks_v2.CreateTaskRequest, policy: RetryPolicy) -> None:
        super().__init__(policy)
        self.request = request


class TasksClient:
    """Creates tasks; usable from threads and from coroutines.

    Args:
        project: The secret with the project's id.
        location: The secret with the queues' region.
        service_account: The e-mail address of the service account whose identity token each call
            carries.
        endpoint: `127.0.0.1:PORT` of a local stand-in, reached without TLS; Google's own if None.
        policy: The bounds of one creation with all its attempts.

    Raises:
        DeclarationError: If the endpoint is not on the loopback.
    """

    def __init__(
        self,
        project: Provided[str],
        location: Provided[str],
        *,
        service_account: str,
        endpoint: str | None = None,
        policy: RetryPolicy = POLICY,
    ) -> None:
        self._project = project
        self._location = location
        self._service_account = service_account
        self._endpoint = None if endpoint is None else _checked(endpoint)
        self._policy = policy
        self._clients = PerProcess(self._client, _close)
        self._async_clients = PerLoop(self._async_client, _aclose)

    def __repr__(self) -> str:
        return f"<TasksClient of {self._endpoint or 'Google'}>"

    def create(self, target: Target, task: NewTask) -> str:
        """Create a task, unless there is one of that name already.

        Returns:
            The task's id.

        Raises:
            TasksUnavailable: If it could not be created within the budget, or at all.
            PgpConfigError: If a secret has no usable value.
        """
        home = f"projects/{self._project()}/locations/{self._location()}"
        creation = _Creation(self._request(home, target.place(), task), self._policy)
        retrying(creation.pause_after, self._attempt, creation)
        return task.task_id

    async def create_async(self, target: Target, task: NewTask) -> str:
        """As `create`, from a coroutine."""
        home = f"projects/{await self._project.async_()}/locations/{await self._location.async_()}"
        creation = _Creation(self._request(home, await target.place_async(), task), self._policy)
        await retrying_async(creation.pause_after, self._attempt_async, creation)
        return task.task_id

    def close(self) -> None:
        """Close the connection of this process; the next use opens a new one."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close the connection of the running loop; the next use opens a new one."""
        await self._async_clients.aclose()

    def _attempt(self, creation: _Creation) -> None:
        trouble = self._try(creation)
        if trouble is not None:
            raise trouble

    async def _attempt_async(self, creation: _Creation) -> None:
        trouble = await self._try_async(creation)
        if trouble is not None:
            raise trouble

    def _try(self, creation: _Creation) -> TasksUnavailable | None:
        limit = creation.attempt_limit()
        try:
            self._clients().create_task(creation.request, retry=None, timeout=limit)
        except _FAILURES as fault:
            return _trouble(fault)
        return None

    async def _try_async(self, creation: _Creation) -> TasksUnavailable | None:
        limit = creation.attempt_limit()
        try:
            client = await self._async_clients()
            await client.create_task(creation.request, retry=None, timeout=limit)
        except _FAILURES as fault:
            return _trouble(fault)
        return None

    def _request(self, home: str, place: Place, task: NewTask) -> tasks_v2.CreateTaskRequest:
        parent = f"{home}/queues/{place.queue}"
        identity = tasks_v2.OidcToken(
            service_account_email=self._service_account, audience=place.base_url
        )
        call = tasks_v2.HttpRequest(
            http_method=tasks_v2.HttpMethod.POST,
            url=f"{place.base_url}{task.path}",
            headers={"Content-Type": "application/json"},
            body=json.dumps(task.body).encode(),
            oidc_token=identity,
        )
        named = tasks_v2.Task(
            name=f"{parent}/tasks/{task.task_id}",
            http_request=call,
            schedule_time=task.schedule_time(),
        )
        return tasks_v2.CreateTaskRequest(parent=parent, task=named)

    def _client(self) -> tasks_v2.CloudTasksClient:
        if self._endpoint is None:
            return tasks_v2.CloudTasksClient()
        channel = grpc.insecure_channel(self._endpoint)
        return tasks_v2.CloudTasksClient(
            transport=transports.CloudTasksGrpcTransport(channel=channel)
        )

    async def _async_client(self) -> tasks_v2.CloudTasksAsyncClient:
        if self._endpoint is None:
            # Looking for credentials may ask the metadata server: not in the loop's thread.
            credentials, _ = await asyncio.to_thread(google.auth.default, _SCOPES)
            return tasks_v2.CloudTasksAsyncClient(credentials=credentials)
        channel = grpc.aio.insecure_channel(self._endpoint)
        return tasks_v2.CloudTasksAsyncClient(
            transport=transports.CloudTasksGrpcAsyncIOTransport(channel=channel)
        )


_FAILURES = (GoogleAPICallError, GoogleAuthError)


def _trouble(fault: Exception) -> TasksUnavailable | None:
    """What a failure means; its text is left out: it may quote the request."""
    if isinstance(fault, AlreadyExists):
        return None
    code = getattr(fault, "grpc_status_code", None)
    reason = type(fault).__name__ if code is None else code.name
    return TasksUnavailable(f"Cloud Tasks failed ({reason})", passing=code in _PASSING)


def _close(client: tasks_v2.CloudTasksClient) -> None:
    transport: Any = client.transport  # Google's close() has no types
    transport.close()


async def _aclose(client: tasks_v2.CloudTasksAsyncClient) -> None:
    transport: Any = client.transport  # as above
    await transport.close()


def _checked(endpoint: str) -> str:
    host, _, port = endpoint.rpartition(":")
    if not is_loopback(host.strip("[]")) or not port.isdecimal():
        raise DeclarationError(
            "the Cloud Tasks endpoint is not a port of this machine",
            remedy="Give 127.0.0.1:PORT of a local stand-in, or leave it out for Google's own.",
        )
    return endpoint
