"""The stand-in as a whole: it listens, records and delivers while its `with` block runs."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import grpc  # type: ignore[import-untyped]  # grpcio has no types

from pgp_services.lookalikes.cloud_tasks.delivery import Dispatcher
from pgp_services.lookalikes.cloud_tasks.methods import Methods
from pgp_services.lookalikes.cloud_tasks.over_rest import RestServer
from pgp_services.lookalikes.cloud_tasks.rules import StatusError
from pgp_services.lookalikes.cloud_tasks.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from google.protobuf import empty_pb2

    from pgp_services.lookalikes.cloud_tasks.methods import Method
    from pgp_services.lookalikes.cloud_tasks.rules import Message
    from pgp_services.lookalikes.cloud_tasks.store import Delivery, RecordedTask
    from pgp_services.lookalikes.routes import Routes

#: Calls that are answered at a time over gRPC.
THREADS = 8


class CloudTasksServer:
    """Takes tasks on the loopback, and delivers them if it is told where their hosts are.

    Google's own clients reach it through an insecure channel at `endpoint`, `gcloud tasks` at `rest_url`
    (CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDTASKS). Done tasks are gone, as at Google; what came and what became
    of it is in the records.

    Args:
        queues: The ids of the queues that exist; every queue exists if None, unless it is deleted.
        port: The port for gRPC; 0 for a free one.
        rest_port: The port for REST; 0 for a free one.
        routes: Where the hosts of the tasks' URLs are; without it nothing is delivered.
        max_concurrent: How many tasks of a queue are delivered at a time, by its id; 1,000 by default.
        longest_pause: Seconds between two attempts, at most, whatever the queue's settings say; more
            than 0.
        worker_limit: Seconds that a worker may take for an answer, at most, whatever the task says.
        clock: Seconds since 1970; a test gives its own and calls `look` when it has moved.
    """

    def __init__(
        self,
        queues: Iterable[str] | None = None,
        port: int = 0,
        *,
        rest_port: int = 0,
        routes: Routes | None = None,
        max_concurrent: Mapping[str, int] | None = None,
        longest_pause: float = 2.0,
        worker_limit: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = Store(queues, max_concurrent or {}, longest_pause, clock)
        self._methods = Methods(self._store)
        self._dispatcher = (
            None if routes is None else Dispatcher(self._store, routes, worker_limit)
        )
        self._faults: deque[grpc.StatusCode] = deque()
        self._lock = threading.Lock()
        self._hangs = False
        self._released = threading.Event()
        self._grpc = grpc.server(ThreadPoolExecutor(THREADS, "cloud-tasks-stand-in"))
        self._grpc.add_generic_rpc_handlers((self._handler(),))
        self._port = self._grpc.add_insecure_port(f"127.0.0.1:{port}")
        self._rest = RestServer(rest_port, self._methods.table, self._call)
        self._rest_thread = threading.Thread(
            target=self._rest.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __repr__(self) -> str:
        return f"<CloudTasksServer at {self.endpoint}, {len(self.tasks)} tasks>"

    @property
    def endpoint(self) -> str:
        """Its address, as a client's endpoint."""
        return f"127.0.0.1:{self._port}"

    @property
    def rest_url(self) -> str:
        """Its base URL for REST, with a closing slash, as gcloud takes it."""
        return f"http://127.0.0.1:{self._rest.server_address[1]}/"

    # -- records -----------------------------------------------------------------------------

    @property
    def tasks(self) -> list[RecordedTask]:
        """The tasks so far, in the order of creation."""
        return self._store.tasks

    @property
    def deliveries(self) -> list[Delivery]:
        """The attempts to deliver so far, in the order of their ends."""
        return self._store.deliveries

    @property
    def dropped(self) -> int:
        """How many repeats were refused because of their name."""
        return self._store.dropped

    def count(self) -> dict[tuple[str, str], int]:
        """How many tasks came, by queue and URL."""
        with self._store.changed:
            return dict(Counter((task.queue, task.url) for task in self.tasks))

    # -- what it is told ---------------------------------------------------------------------

    def fail(self, *codes: grpc.StatusCode) -> None:
        """Answer the next calls with these codes, one after the other."""
        with self._lock:
            self._faults.extend(codes)

    def hang(self) -> None:
        """Answer no call any more."""
        self._hangs = True

    def deliver_twice(self, which: Callable[[RecordedTask], bool] = lambda _: True) -> None:
        """Deliver the next task that is done once more, as Cloud Tasks may.

        Args:
            which: Which task; the first that it is true of.
        """
        self._store.deliver_twice(which)

    def run_delayed_now(self) -> int:
        """Attempt the tasks that wait for their `scheduleTime` at once; how many there were."""
        return self._store.run_delayed_now()

    def look(self) -> None:
        """Look what is due: the clock has moved."""
        with self._store.changed:
            self._store.changed.notify_all()

    def wait_until_idle(self, limit: float = 30.0) -> None:
        """Wait until no task is on its way: each is done, given up, or waits to be called for.

        Tasks that wait for their `scheduleTime`, and those of paused queues, are not on their way.

        Args:
            limit: Seconds, at most.

        Raises:
            TimeoutError: If some are on their way still; it names their queues.
        """
        with self._store.changed:
            if not self._store.changed.wait_for(lambda: not self._store.pending(), limit):
                raise TimeoutError(f"Tasks are on their way still: {self._store.pending()}")

    # -- serving -----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._grpc.start()
        self._rest_thread.start()
        if self._dispatcher is not None:
            self._dispatcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        if self._dispatcher is not None:
            self._dispatcher.stop()
        self._grpc.stop(grace=None).wait()
        self._rest.shutdown()
        self._rest.server_close()
        self._rest_thread.join()

    def _handler(self) -> Any:  # noqa: ANN401  grpcio has no types
        return grpc.method_handlers_generic_handler(
            "google.cloud.tasks.v2.CloudTasks",
            {name: self._unary(name, method) for name, method in self._methods.table.items()},
        )

    def _unary(self, name: str, method: Method) -> Any:  # noqa: ANN401  as above
        def answer(request: Message, context: Any) -> Message:  # noqa: ANN401  as above
            try:
                return self._call(name, request)
            except StatusError as error:
                code, message = grpc.StatusCode[error.code], error.message
            return context.abort(code, message)

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=method.request.deserialize,
            response_serializer=(method.response or _Empty).serialize,
        )

    def _call(self, name: str, request: Message) -> Message:
        if self._hangs:
            self._released.wait()
        with self._lock:
            code = self._faults.popleft() if self._faults else None
        if code is not None:
            raise StatusError(code.name, "as told")
        return self._methods.call(name, request)


class _Empty:
    """Google's Empty, which is no message of proto-plus."""

    @staticmethod
    def serialize(message: empty_pb2.Empty) -> bytes:
        return message.SerializeToString()
