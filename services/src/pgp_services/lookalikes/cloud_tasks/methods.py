"""Google's methods on Google's messages, answered from the store; knows no transport."""

from __future__ import annotations

import re
from collections.abc import Callable  # noqa: TC003  a named tuple keeps its annotations
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from google.cloud.tasks_v2 import types
from google.protobuf import empty_pb2

from pgp_services.lookalikes.cloud_tasks.rules import Message, refuse
from pgp_services.lookalikes.cloud_tasks.store import PAUSED, RUNNING

if TYPE_CHECKING:
    from pgp_services.lookalikes.cloud_tasks.store import Store

T = TypeVar("T")

#: Entries of a page, at most.
QUEUES_PAGE, TASKS_PAGE = 9800, 1000

_STATE_FILTER = re.compile(r'\s*state\s*(:|=|!=)\s*"?([A-Z]+)"?\s*')


class Method(NamedTuple):
    """What answers a request, the class of the request, and the class of the answer; None for Empty."""

    answer: Callable[[Any], Any]
    request: Any
    response: Any


class Methods:
    """The methods of the service, each from a request to an answer.

    Args:
        store: The state.

    Attributes:
        table: The methods by name.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        t, queue = types, types.Queue
        self.table = {
            "CreateQueue": Method(
                lambda r: store.create_queue(r.parent, r.queue), t.CreateQueueRequest, queue
            ),
            "GetQueue": Method(lambda r: store.get_queue(r.name), t.GetQueueRequest, queue),
            "ListQueues": Method(self._list_queues, t.ListQueuesRequest, t.ListQueuesResponse),
            "UpdateQueue": Method(
                lambda r: store.update_queue(r.queue, list(r.update_mask.paths)),
                t.UpdateQueueRequest,
                queue,
            ),
            "DeleteQueue": Method(
                lambda r: store.delete_queue(r.name), t.DeleteQueueRequest, None
            ),
            "PurgeQueue": Method(lambda r: store.purge_queue(r.name), t.PurgeQueueRequest, queue),
            "PauseQueue": Method(
                lambda r: store.set_state(r.name, PAUSED), t.PauseQueueRequest, queue
            ),
            "ResumeQueue": Method(
                lambda r: store.set_state(r.name, RUNNING), t.ResumeQueueRequest, queue
            ),
            "CreateTask": Method(
                lambda r: _viewed(store.create_task(r.parent, r.task), r.response_view),
                t.CreateTaskRequest,
                t.Task,
            ),
            "GetTask": Method(
                lambda r: _viewed(store.get_task(r.name), r.response_view),
                t.GetTaskRequest,
                t.Task,
            ),
            "ListTasks": Method(self._list_tasks, t.ListTasksRequest, t.ListTasksResponse),
            "DeleteTask": Method(lambda r: store.delete_task(r.name), t.DeleteTaskRequest, None),
            "RunTask": Method(
                lambda r: _viewed(store.run_task(r.name), r.response_view),
                t.RunTaskRequest,
                t.Task,
            ),
        }

    def call(self, method: str, request: Message) -> Message:
        """Answer a request with the method's message; Google's Empty where there is nothing to say.

        Raises:
            StatusError: If the answer is not OK.
        """
        answer = self.table[method].answer(request)
        return empty_pb2.Empty() if answer is None else answer

    def _list_queues(self, request: types.ListQueuesRequest) -> types.ListQueuesResponse:
        queues = [q for q in self._store.list_queues(request.parent) if _fits(q, request.filter)]
        page, token = _page(queues, request.page_size, request.page_token, QUEUES_PAGE)
        return types.ListQueuesResponse(queues=page, next_page_token=token)

    def _list_tasks(self, request: types.ListTasksRequest) -> types.ListTasksResponse:
        tasks = self._store.list_tasks(request.parent)
        page, token = _page(tasks, request.page_size, request.page_token, TASKS_PAGE)
        viewed = [_viewed(task, request.response_view) for task in page]
        return types.ListTasksResponse(tasks=viewed, next_page_token=token)


def _viewed(task: Message, view: int) -> Message:
    """The task with its body, or without, as it is by default."""
    if view != types.Task.View.FULL:
        task.http_request.body = b""
    task.view = view or types.Task.View.BASIC
    return task


def _page(found: list[T], size: int, token: str, most: int) -> tuple[list[T], str]:
    """A page, and the token of the next one; a token is the number of entries before its page."""
    if size < 0 or (token and not token.isdecimal()):
        refuse("The page size or the page token is invalid.")
    begin = int(token or 0)
    end = begin + min(size or most, most)
    return found[begin:end], str(end) if end < len(found) else ""


def _fits(queue: Message, wanted: str) -> bool:
    """Whether a queue is one that the filter means; filters on the state are known, no others."""
    if not wanted:
        return True
    found = _STATE_FILTER.fullmatch(wanted)
    if found is None:
        refuse("This stand-in filters queues by their state only, such as state: PAUSED.")
    return bool(queue.state.name == found[2]) != (found[1] == "!=")
