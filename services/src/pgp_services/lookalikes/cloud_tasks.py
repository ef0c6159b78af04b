"""A local stand-in for Cloud Tasks on Google's own messages: it records tasks and delivers none.

Google's own clients reach it through an insecure channel. It knows `CreateTask` (with the rules for
names: of the queue's own parent, and never twice) and `GetQueue`.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import grpc  # type: ignore[import-untyped]  # grpcio has no types
from google.cloud.tasks_v2 import types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: Bytes of a task, at most (google.cloud.tasks.v2.CloudTasks.CreateTask).
MAX_TASK = 100 * 1024


@dataclass(frozen=True, slots=True)
class RecordedTask:
    """A task as it was created.

    Attributes:
        queue: The id of its queue.
        name: Its full resource name.
        url: What it would call.
        headers: The headers of that call.
        body: The body of that call.
        service_account: Whose identity the call would carry.
        audience: For whom that identity would be.
    """

    queue: str
    name: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    service_account: str
    audience: str


class CloudTasksServer:
    """Takes tasks on the loopback while its `with` block runs.

    Args:
        queues: The ids of the queues that exist; every queue exists if None.
        port: The port; 0 for a free one.

    Attributes:
        tasks: The tasks so far.
        dropped: How many repeats were refused because of their name.
    """

    def __init__(self, queues: Iterable[str] | None = None, port: int = 0) -> None:
        self.tasks: list[RecordedTask] = []
        self.dropped = 0
        self._queues = None if queues is None else set(queues)
        self._names: set[str] = set()
        self._faults: deque[grpc.StatusCode] = deque()
        self._lock = threading.Lock()
        self._hangs = False
        self._released = threading.Event()
        self._grpc = grpc.server(ThreadPoolExecutor(4, "cloud-tasks-stand-in"))
        self._grpc.add_generic_rpc_handlers((self._methods(),))
        self._port = self._grpc.add_insecure_port(f"127.0.0.1:{port}")

    def __repr__(self) -> str:
        return f"<CloudTasksServer at {self.endpoint}, {len(self.tasks)} tasks>"

    @property
    def endpoint(self) -> str:
        """Its address, as a client's endpoint."""
        return f"127.0.0.1:{self._port}"

    def fail(self, *codes: grpc.StatusCode) -> None:
        """Answer the next calls with these codes, one after the other."""
        with self._lock:
            self._faults.extend(codes)

    def hang(self) -> None:
        """Answer no call any more."""
        self._hangs = True

    def count(self) -> dict[tuple[str, str], int]:
        """How many tasks came, by queue and URL."""
        with self._lock:
            return dict(Counter((task.queue, task.url) for task in self.tasks))

    def __enter__(self) -> Self:
        self._grpc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._grpc.stop(grace=None).wait()

    def _methods(self) -> Any:  # noqa: ANN401  grpcio has no types
        return grpc.method_handlers_generic_handler(
            "google.cloud.tasks.v2.CloudTasks",
            {
                "CreateTask": _unary(self._create, types.CreateTaskRequest, types.Task),
                "GetQueue": _unary(self._get_queue, types.GetQueueRequest, types.Queue),
            },
        )

    def _create(self, request: types.CreateTaskRequest, context: Any) -> types.Task:  # noqa: ANN401  as above
        self._fail_if_told(context)
        with self._lock:
            self._require_queue(request.parent, context)
            _require_sound(request, context)
            task = request.task
            if task.name in self._names:
                self.dropped += 1
                context.abort(grpc.StatusCode.ALREADY_EXISTS, "Requested entity already exists")
            task.name = task.name or f"{request.parent}/tasks/{len(self.tasks) + 1}"
            self._names.add(task.name)
            self.tasks.append(_recorded(request.parent, task))
            return task

    def _get_queue(self, request: types.GetQueueRequest, context: Any) -> types.Queue:  # noqa: ANN401  as above
        self._fail_if_told(context)
        with self._lock:
            self._require_queue(request.name, context)
            return types.Queue(name=request.name, state=types.Queue.State.RUNNING)

    def _fail_if_told(self, context: Any) -> None:  # noqa: ANN401  as above
        if self._hangs:
            self._released.wait()
        with self._lock:
            code = self._faults.popleft() if self._faults else None
        if code is not None:
            context.abort(code, "as told")

    def _require_queue(self, name: str, context: Any) -> None:  # noqa: ANN401  as above
        match name.split("/"):
            case ["projects", _, "locations", _, "queues", queue]:
                if self._queues is not None and queue not in self._queues:
                    context.abort(grpc.StatusCode.NOT_FOUND, "Queue does not exist.")
            case _:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Malformed queue name.")


def _require_sound(request: types.CreateTaskRequest, context: Any) -> None:  # noqa: ANN401  as above
    task = request.task
    if not task.http_request.url.startswith(("http://", "https://")):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "HttpRequest.url is required.")
    if task.name and not task.name.startswith(f"{request.parent}/tasks/"):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The task's name is of another queue.")
    if len(types.Task.serialize(task)) > MAX_TASK:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The task is too large.")


def _recorded(parent: str, task: types.Task) -> RecordedTask:
    call = task.http_request
    return RecordedTask(
        queue=parent.rpartition("/")[2],
        name=task.name,
        url=call.url,
        headers=dict(call.headers),
        body=call.body,
        service_account=call.oidc_token.service_account_email,
        audience=call.oidc_token.audience,
    )


def _unary(method: Callable[[Any, Any], Any], request: Any, response: Any) -> Any:  # noqa: ANN401  as above
    return grpc.unary_unary_rpc_method_handler(
        method,
        request_deserializer=request.deserialize,
        response_serializer=response.serialize,
    )
