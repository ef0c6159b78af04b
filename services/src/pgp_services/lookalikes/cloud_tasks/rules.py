"""What Google refuses, and how it says so: names, sizes, times and bounds.

The facts are those of google.cloud.tasks.v2 (its messages' comments) and of
https://cloud.google.com/tasks/docs/quotas.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, NoReturn, TypeAlias

from google.cloud.tasks_v2 import types

#: A message of proto-plus: its annotations are those of the raw message, which is not what its fields give.
Message: TypeAlias = Any

#: Bytes of a task, at most (google.cloud.tasks.v2.CloudTasks.CreateTask).
MAX_TASK = 100 * 1024

#: Seconds that a task may lie in the future, at most: 30 days.
MAX_DELAY = 30 * 86400.0

#: Seconds for which the name of a task that is gone is not given again, at most: 24 hours.
NAME_REST = 86400.0

#: Seconds for which the name of a deleted queue is not given again, at most: 3 days.
QUEUE_REST = 3 * 86400.0

#: Seconds that a worker may take: from, to, and unless the task says otherwise.
DEADLINE_FROM, DEADLINE_TO, DEADLINE = 15.0, 1800.0, 600.0

#: What a queue is given that asks for nothing.
DEFAULT_LIMITS = types.RateLimits(
    max_dispatches_per_second=500, max_burst_size=100, max_concurrent_dispatches=1000
)
DEFAULT_RETRIES = types.RetryConfig(
    max_attempts=100,
    min_backoff=timedelta(seconds=0.1),
    max_backoff=timedelta(hours=1),
    max_doublings=16,
)

_PARENT = re.compile(r"projects/[A-Za-z0-9:.-]+/locations/[A-Za-z0-9-]+")
_QUEUE = re.compile(rf"({_PARENT.pattern})/queues/([A-Za-z0-9-]{{1,100}})")
_TASK = re.compile(rf"({_QUEUE.pattern})/tasks/([A-Za-z0-9_-]{{1,500}})")

_LONGEST_URL = 2083
_WITH_BODY = (
    types.HttpMethod.HTTP_METHOD_UNSPECIFIED,
    types.HttpMethod.POST,
    types.HttpMethod.PUT,
    types.HttpMethod.PATCH,
)


class StatusError(Exception):
    """A call that is not answered with OK.

    Args:
        code: The name of gRPC's code.
        message: What is wrong.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


def refuse(message: str, code: str = "INVALID_ARGUMENT") -> NoReturn:
    """End a call."""
    raise StatusError(code, message)


def require_parent(name: str) -> None:
    """See that it is the name of a location."""
    if _PARENT.fullmatch(name) is None:
        refuse("Malformed location name.")


def parent_of_queue(name: str) -> str:
    """The location of a queue."""
    found = _QUEUE.fullmatch(name)
    return found[1] if found else refuse("Malformed queue name.")


def queue_of_task(name: str) -> str:
    """The queue of a task."""
    found = _TASK.fullmatch(name)
    return found[1] if found else refuse("Malformed task name.")


def require_sound_queue(queue: Message) -> None:
    """See that a queue's settings are within Google's bounds."""
    limits, retries = queue.rate_limits, queue.retry_config
    sound = (
        0 <= limits.max_dispatches_per_second <= 500  # noqa: PLR2004  as in the messages' comments
        and 0 <= limits.max_concurrent_dispatches <= 5000  # noqa: PLR2004  as above
        and retries.max_attempts >= -1
        and retries.max_doublings >= 0
        and retries.min_backoff <= retries.max_backoff
    )
    if not sound:
        refuse("A rate limit or a retry setting of the queue is out of bounds.")


def require_sound_task(parent: str, task: Message, now: float) -> None:
    """See that a task is one that Google takes.

    Args:
        parent: The queue that it is for.
        task: The task, with a name or without.
        now: Seconds since 1970.
    """
    call = task.http_request
    if not call.url.startswith(("http://", "https://")) or len(call.url) > _LONGEST_URL:
        refuse("HttpRequest.url is required.")
    if task.name and queue_of_task(task.name) != parent:
        refuse("The task's name is of another queue.")
    if len(types.Task.serialize(task)) > MAX_TASK:
        refuse("The task is too large.")
    if call.body and call.http_method not in _WITH_BODY:
        refuse("HttpRequest.body is not allowed with this method.")
    if task.schedule_time and task.schedule_time.timestamp() > now + MAX_DELAY:
        refuse("The task's schedule_time is too far in the future.")
    deadline = seconds(task.dispatch_deadline)
    if deadline and not DEADLINE_FROM <= deadline <= DEADLINE_TO:
        refuse("The task's dispatch_deadline must be between [15s, 30m].")


def seconds(duration: object) -> float:
    """A Duration as proto-plus gives it, a timedelta or None, in seconds."""
    total = getattr(duration, "total_seconds", None)
    return float(total()) if total is not None else 0.0


def pause_after(failures: int, retries: Message) -> float:
    """Seconds until the next attempt (google.cloud.tasks.v2.RetryConfig.max_doublings).

    It begins with the least pause, doubles so many times, then grows by its last step, and stays at
    the longest.

    Args:
        failures: Attempts that have failed so far, 1 or more.
        retries: The queue's settings.
    """
    least, most = seconds(retries.min_backoff), seconds(retries.max_backoff)
    doubled = min(failures - 1, retries.max_doublings, 64)
    steps = max(0, failures - 1 - doubled)
    last = least * 2.0**doubled
    return float(min(most, last + steps * last))
