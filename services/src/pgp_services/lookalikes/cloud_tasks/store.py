"""Queues and their tasks: what Google's calls do to them, and which task is to be delivered next.

One condition guards all of it, and is told of every change.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from google.cloud.tasks_v2 import types
from google.protobuf import field_mask_pb2

from pgp_services.lookalikes.cloud_tasks import rules
from pgp_services.lookalikes.cloud_tasks.rules import Message, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

RUNNING, PAUSED = types.Queue.State.RUNNING, types.Queue.State.PAUSED

#: What is the service's alone to set of a queue.
_OUTPUT_ONLY = {"name", "state", "purge_time"}
_SETTINGS = tuple(set(types.Queue.pb(types.Queue()).DESCRIPTOR.fields_by_name) - _OUTPUT_ONLY)


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
        schedule_time: When it is to be delivered, in seconds since 1970; None for at once.
        at: When it was created, in monotonic seconds.
    """

    queue: str
    name: str
    url: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    service_account: str
    audience: str
    schedule_time: float | None
    at: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """An attempt to deliver a task, once it has ended.

    Attributes:
        task: The task's full resource name.
        queue: The id of its queue.
        url: What was called, by the task.
        retry_count: Attempts before it, 0 or more.
        status: The HTTP status of the answer; 0 if there was none.
        trouble: Why there was no answer; the name of an exception, or "no route".
        is_duplicate: Whether the task had been done already: Cloud Tasks delivers at least once.
        began: When the call was made, in monotonic seconds.
        ended: When it was over, in monotonic seconds.
    """

    task: str
    queue: str
    url: str
    retry_count: int
    status: int
    trouble: str
    is_duplicate: bool
    began: float
    ended: float

    @property
    def is_done(self) -> bool:
        """Whether the worker took the task."""
        return 200 <= self.status < 300  # noqa: PLR2004  HTTP's success


@dataclass(slots=True)
class Held:
    """A task that is not done.

    Attributes:
        message: As Google shows it.
        queue: The full name of its queue.
        place: Its place in the order of creation.
        due: When it is to be attempted, in seconds since 1970.
        is_delayed: Whether it waits for a time that its creator named.
        is_forced: Whether it is to be attempted whatever its queue says.
        is_running: Whether an attempt is under way.
        previous: The status of the last answer; 0 if there was none.
        is_duplicate: Whether it has been done already.
    """

    message: Message
    queue: str
    place: int
    due: float
    is_delayed: bool
    is_forced: bool = False
    is_running: bool = False
    previous: int = 0
    is_duplicate: bool = False


@dataclass(slots=True)
class _Kept:
    """A queue: as Google shows it, and the tasks of it that are not done, by name."""

    message: Message
    tasks: dict[str, Held] = field(default_factory=dict)

    @property
    def running(self) -> int:
        return sum(task.is_running for task in self.tasks.values())


class Store:
    """All queues of all projects.

    Args:
        queues: The ids of the queues that exist in each location; None for every id, unless it is
            deleted.
        max_concurrent: How many tasks of a queue are dispatched at a time, by its id; 1,000 by default.
        longest_pause: Seconds between two attempts, at most, whatever the queue's settings say.
        clock: Seconds since 1970.

    Attributes:
        changed: Told of every change; holds the lock.
        tasks: The tasks so far, in the order of creation.
        deliveries: The attempts so far, in the order of their ends.
        dropped: How many repeats were refused because of their name.
    """

    def __init__(
        self,
        queues: Iterable[str] | None,
        max_concurrent: Mapping[str, int],
        longest_pause: float,
        clock: Callable[[], float],
    ) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.tasks: list[RecordedTask] = []
        self.deliveries: list[Delivery] = []
        self.dropped = 0
        self.clock = clock
        self._ids = None if queues is None else set(queues)
        self._max_concurrent = dict(max_concurrent)
        self._longest_pause = longest_pause
        self._queues: dict[str, _Kept] = {}
        self._deleted: dict[str, float] = {}
        self._gone: dict[str, float] = {}
        self._twice: list[Callable[[RecordedTask], bool]] = []

    # -- queues ------------------------------------------------------------------------------

    def create_queue(self, parent: str, queue: Message) -> Message:
        """Create a queue."""
        rules.require_parent(parent)
        if rules.parent_of_queue(queue.name) != parent:
            refuse("The queue's name is of another location.")
        with self.changed:
            # Where every queue exists, one that nobody has spoken of yet can be created nevertheless.
            known = self._ids is not None and self._known(queue.name)
            if known or queue.name in self._queues:
                refuse("Queue already exists", "ALREADY_EXISTS")
            if self._is_resting(queue.name):
                refuse(
                    "The queue cannot be created because a queue with this name existed too recently.",
                    "FAILED_PRECONDITION",
                )
            return _copy(self._add_queue(queue).message)

    def get_queue(self, name: str) -> Message:
        """A queue as Google shows it."""
        with self.changed:
            return _copy(self._queue(name).message)

    def list_queues(self, parent: str) -> list[Message]:
        """The queues of a location, by name."""
        rules.require_parent(parent)
        with self.changed:
            found = [name for name in self._queues if rules.parent_of_queue(name) == parent]
            return [_copy(self._queues[name].message) for name in sorted(found)]

    def update_queue(self, queue: Message, paths: list[str]) -> Message:
        """Change what the mask names, or all that can be set; create the queue if it is not there."""
        with self.changed:
            kept = self._known(queue.name)
            if kept is None:
                return self.create_queue(rules.parent_of_queue(queue.name), queue)
            changed = _copy(kept.message)
            _merge(queue, changed, paths)
            kept.message = _complete(changed)
            self.changed.notify_all()
            return _copy(kept.message)

    def delete_queue(self, name: str) -> None:
        """Delete a queue and its tasks; its name rests."""
        with self.changed:
            kept = self._queue(name)
            self._forget(kept)
            del self._queues[name]
            self._deleted[name] = self.clock()

    def purge_queue(self, name: str) -> Message:
        """Delete all tasks of a queue."""
        with self.changed:
            kept = self._queue(name)
            self._forget(kept)
            kept.message.purge_time = self._now()
            return _copy(kept.message)

    def set_state(self, name: str, state: int) -> Message:
        """Pause or resume a queue."""
        with self.changed:
            kept = self._queue(name)
            kept.message.state = state
            self.changed.notify_all()
            return _copy(kept.message)

    def _queue(self, name: str) -> _Kept:
        kept = self._known(name)
        if kept is not None:
            return kept
        if self._is_resting(name):
            refuse(
                "The queue no longer exists, though a queue with this name existed recently.",
                "FAILED_PRECONDITION",
            )
        return refuse("Queue does not exist.", "NOT_FOUND")

    def _known(self, name: str) -> _Kept | None:
        """The queue, if it exists: also one that nobody has spoken of yet."""
        rules.parent_of_queue(name)
        kept = self._queues.get(name)
        if kept is not None or name in self._deleted:
            return kept
        exists = self._ids is None or name.rpartition("/")[2] in self._ids
        return self._add_queue(types.Queue(name=name)) if exists else None

    def _is_resting(self, name: str) -> bool:
        deleted = self._deleted.get(name)
        return deleted is not None and self.clock() < deleted + rules.QUEUE_REST

    def _add_queue(self, queue: Message) -> _Kept:
        made: Message = types.Queue(name=queue.name, state=RUNNING)
        _merge(queue, made, [])
        made = _complete(made)
        asked = queue.rate_limits.max_concurrent_dispatches
        limit = asked or self._max_concurrent.get(queue.name.rpartition("/")[2])
        if limit:
            made.rate_limits.max_concurrent_dispatches = limit
        kept = self._queues[queue.name] = _Kept(made)
        self._deleted.pop(queue.name, None)
        return kept

    def _forget(self, kept: _Kept) -> None:
        for name in kept.tasks:
            self._gone[name] = self.clock()
        kept.tasks.clear()
        self.changed.notify_all()

    # -- tasks -------------------------------------------------------------------------------

    def create_task(self, parent: str, task: Message) -> Message:
        """Add a task to a queue."""
        with self.changed:
            kept = self._queue(parent)
            rules.require_sound_task(parent, task, self.clock())
            self._require_new(kept, task.name)
            added: Message = types.Task(
                name=task.name or f"{parent}/tasks/{secrets.randbelow(10**19)}",
                http_request=task.http_request,
                schedule_time=task.schedule_time,
                dispatch_deadline=task.dispatch_deadline or timedelta(seconds=rules.DEADLINE),
                create_time=self._now().replace(microsecond=0),
            )
            held = self._held(parent, added)
            kept.tasks[added.name] = held
            self.tasks.append(_recorded(held))
            self.changed.notify_all()
            return _copy(added)

    def get_task(self, name: str) -> Message:
        """A task that is not done."""
        with self.changed:
            return _copy(self._task(name).message)

    def list_tasks(self, parent: str) -> list[Message]:
        """The tasks of a queue that are not done, in the order of creation."""
        with self.changed:
            return [_copy(held.message) for held in self._queue(parent).tasks.values()]

    def delete_task(self, name: str) -> None:
        """Delete a task that is not done."""
        with self.changed:
            self._drop(self._task(name))
            self.changed.notify_all()

    def run_task(self, name: str) -> Message:
        """Have a task attempted now, whatever its queue says."""
        with self.changed:
            held = self._task(name)
            held.is_forced, held.is_delayed, held.due = True, False, self.clock()
            held.message.schedule_time = self._now()
            self.changed.notify_all()
            return _copy(held.message)

    def run_delayed_now(self) -> int:
        """Have every task that waits for a time that its creator named attempted now; how many."""
        with self.changed:
            delayed = [held for held in self._all() if self._waits_for_its_time(held)]
            for held in delayed:
                held.is_delayed, held.due = False, self.clock()
            self.changed.notify_all()
            return len(delayed)

    def _task(self, name: str) -> Held:
        held = self._queue(rules.queue_of_task(name)).tasks.get(name)
        return held if held is not None else refuse("The task does not exist.", "NOT_FOUND")

    def _held(self, parent: str, added: Message) -> Held:
        due, now = added.schedule_time, self.clock()
        is_delayed = due is not None and due.timestamp() > now
        if not is_delayed:
            added.schedule_time = self._now()
        at = added.schedule_time.timestamp() if is_delayed else now
        return Held(added, parent, len(self.tasks), at, is_delayed)

    def _require_new(self, kept: _Kept, name: str) -> None:
        gone = self._gone.get(name)
        exists, rests = name in kept.tasks, gone and self.clock() < gone + rules.NAME_REST
        if not (exists or rests):
            return
        self.dropped += 1
        refuse(
            "Requested entity already exists"
            if exists
            else "The task cannot be created because a task with this name existed too recently.",
            "ALREADY_EXISTS",
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    def _all(self) -> Iterator[Held]:
        for kept in self._queues.values():
            yield from kept.tasks.values()

    def _waits_for_its_time(self, held: Held) -> bool:
        return held.is_delayed and held.due > self.clock()

    def _drop(self, held: Held) -> None:
        kept = self._queues.get(held.queue)
        if kept is not None and kept.tasks.get(held.message.name) is held:
            del kept.tasks[held.message.name]
            self._gone[held.message.name] = self.clock()

    # -- delivery ----------------------------------------------------------------------------

    def take(self) -> Held | None:
        """The task to attempt next, if one is due; it counts as running from now on."""
        with self.changed:
            now = self.clock()
            ready = [held for held in self._ready() if held.due <= now]
            if not ready:
                return None
            held = min(ready, key=lambda held: (held.due, held.place))
            held.is_running, held.is_forced, held.is_delayed = True, False, False
            held.message.dispatch_count += 1
            attempt = types.Attempt(schedule_time=self._now(), dispatch_time=self._now())
            held.message.last_attempt = attempt
            if not held.message.first_attempt.dispatch_time:
                held.message.first_attempt = types.Attempt(dispatch_time=attempt.dispatch_time)
            return held

    def next_due(self) -> float | None:
        """Seconds until a task is due; None if there is none to wait for."""
        with self.changed:
            dues = [held.due for held in self._ready()]
            return max(0.0, min(dues) - self.clock()) if dues else None

    def _ready(self) -> Iterator[Held]:
        """Tasks that could be attempted if their time had come."""
        for kept in self._queues.values():
            limit = kept.message.rate_limits.max_concurrent_dispatches
            is_open = kept.message.state == RUNNING and kept.running < limit
            for held in kept.tasks.values():
                if not held.is_running and (is_open or held.is_forced):
                    yield held

    def conclude(self, held: Held, delivery: Delivery, retry_after: float) -> None:
        """Note how an attempt ended: the task is done, or is due again after a pause.

        Args:
            held: The task.
            delivery: What became of the attempt.
            retry_after: Seconds that the worker asked for, 0 or more; no longer than the longest pause.
        """
        with self.changed:
            self.deliveries.append(delivery)
            held.is_running, held.previous = False, delivery.status
            if delivery.status:
                held.message.response_count += 1
                held.message.last_attempt.response_time = self._now()
            if delivery.is_done:
                self._done(held)
            else:
                self._postpone(held, retry_after)
            self.changed.notify_all()

    def _done(self, held: Held) -> None:
        recorded = self.tasks[held.place]
        again = next((asked for asked in self._twice if asked(recorded)), None)
        if again is None or held.is_duplicate:
            self._drop(held)
            return
        self._twice.remove(again)
        held.is_duplicate, held.due = True, self.clock()

    def _postpone(self, held: Held, retry_after: float) -> None:
        kept = self._queues.get(held.queue)
        if kept is None:
            return  # deleted meanwhile, with its tasks
        retries, failures = kept.message.retry_config, held.message.dispatch_count
        if self._is_given_up(held, retries):
            self._drop(held)
            return
        pause = max(rules.pause_after(failures, retries), retry_after)
        held.due = self.clock() + min(self._longest_pause, pause)
        held.message.schedule_time = datetime.fromtimestamp(held.due, UTC)

    def _is_given_up(self, held: Held, retries: Message) -> bool:
        """Both limits have to be reached; a duration of 0 is none."""
        if retries.max_attempts < 0 or held.message.dispatch_count < retries.max_attempts:
            return False
        age = self.clock() - held.message.first_attempt.dispatch_time.timestamp()
        return bool(age >= rules.seconds(retries.max_retry_duration))

    def deliver_twice(self, asked: Callable[[RecordedTask], bool]) -> None:
        """Deliver the next done task that `asked` is true of once more."""
        with self.changed:
            self._twice.append(asked)

    def pending(self) -> dict[str, int]:
        """Tasks that are on their way, by the ids of their queues.

        Those that wait for a time which their creator named, or in a paused queue, are not.
        """
        with self.changed:
            return dict(
                Counter(
                    held.queue.rpartition("/")[2]
                    for held in self._all()
                    if held.is_running or held.is_forced or self._is_on_its_way(held)
                )
            )

    def _is_on_its_way(self, held: Held) -> bool:
        is_open = self._queues[held.queue].message.state == RUNNING
        return is_open and not self._waits_for_its_time(held)


def _copy(message: Message) -> Message:
    """One that its holder may change."""
    return type(message)(message)


def _complete(queue: Message) -> Message:
    """The same with Google's choice for what is not set."""
    filled = types.Queue(rate_limits=rules.DEFAULT_LIMITS, retry_config=rules.DEFAULT_RETRIES)
    given, retries = types.Queue.pb(queue), types.Queue.pb(filled).retry_config
    for pause in ("min_backoff", "max_backoff"):
        if given.retry_config.HasField(pause):
            # Durations are merged field by field: the seconds of one, the fraction of the other.
            retries.ClearField(pause)
    types.Queue.pb(filled).MergeFrom(given)
    rules.require_sound_queue(filled)
    return filled


def _merge(source: Message, into: Message, paths: list[str]) -> None:
    """Take over what the paths name, or all that a caller may set."""
    kept = [path for path in paths or _SETTINGS if path.partition(".")[0] not in _OUTPUT_ONLY]
    mask = field_mask_pb2.FieldMask(paths=kept)
    if not mask.IsValidForDescriptor(types.Queue.pb(source).DESCRIPTOR):
        refuse("The update mask names a field that a queue does not have.")
    mask.MergeMessage(types.Queue.pb(source), types.Queue.pb(into), replace_message_field=True)


def _recorded(held: Held) -> RecordedTask:
    task = held.message
    call = task.http_request
    return RecordedTask(
        queue=held.queue.rpartition("/")[2],
        name=task.name,
        url=call.url,
        headers=dict(call.headers),
        body=call.body,
        service_account=call.oidc_token.service_account_email,
        audience=call.oidc_token.audience,
        schedule_time=held.due if held.is_delayed else None,
        at=time.monotonic(),
    )
