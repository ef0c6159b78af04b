"""Keeps calls to a source and `fork()` apart: no lock, thread or call in flight crosses a fork.

gRPC hangs in a child that was forked while a call was in flight, in every release tried (1.62 to
1.85), so the parent waits for its calls and holds new ones back until it has forked.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from pgp_config.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterator

_logger = logging.getLogger("pgp_config")

#: What the locks of this package are made with; gevent puts its own in the place.
_lock_type = threading.Lock

#: Seconds that a fork waits for calls in flight: more than the 2 s budget of a fetch.
PATIENCE = 5.0


class Forkable(Protocol):
    """Something with state that a child must not inherit as it stands.

    It may have a `prepare_fork()` too, which is called in the parent when no call is in flight, and a
    `resume_after_fork()`, which is called there when the fork is over.
    """

    def renew_after_fork(self) -> None:
        """In the child: replace locks and threads, forget calls in flight."""
        ...


class ForkGate:
    """Lets calls through, and a fork only between them.

    Args:
        patience: Seconds that a fork waits at most for calls in flight.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()
        self._reset()

    def _reset(self) -> None:
        self._condition = threading.Condition()
        self._calls = 0
        self._forks = 0

    def register(self, forkable: Forkable) -> None:
        """Have `renew_after_fork` called in every child; held weakly."""
        self._forkables.add(forkable)

    def forkables(self) -> list[Forkable]:
        """All that are registered and still in use."""
        return list(self._forkables)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around one call to a source."""
        with self._condition:
            self._condition.wait_for(lambda: not self._forks)
            self._calls += 1
        try:
            yield
        finally:
            with self._condition:
                self._calls -= 1
                self._condition.notify_all()

    def before_fork(self) -> None:
        """Hold new calls back and wait for those in flight."""
        with self._condition:
            self._forks += 1
            if not self._condition.wait_for(lambda: self._calls == 0, self._patience):
                _logger.warning(
                    "Forking while %d calls to a secret source are in flight: "
                    "the child may hang in its client library.",
                    self._calls,
                )
        self._each("prepare_fork")

    def after_in_parent(self) -> None:
        """Let the calls go on."""
        with self._condition:
            self._forks -= 1
            self._condition.notify_all()
        self._each("resume_after_fork")

    def after_in_child(self) -> None:
        """Start afresh: the threads that held the locks are not here."""
        self._reset()
        self._each("renew_after_fork")

    def _each(self, hook: str) -> None:
        for forkable in list(self._forkables):
            getattr(forkable, hook, _nothing)()


def _nothing() -> None:
    """In place of a hook that a forkable does not have."""


def threads_are_greenlets() -> bool:
    """Whether gevent patched this process."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def refuse_late_patch() -> None:
    """Refuse to start threads where gevent patched the process after this package was imported.

    They are greenlets then, and the locks from before are not: a greenlet that waits for such a lock
    stops the one that holds it, and so the process.

    Raises:
        DeclarationError: If it did.
    """
    if threading.Lock is not _lock_type:
        raise DeclarationError(
            "gevent patched this process after pgp_config was imported, whose locks would stop it",
            remedy="Patch first. For gunicorn's gevent worker with --preload, let gunicorn.conf.py begin "
            "with: from gevent import monkey; monkey.patch_all()",
        )


gate = ForkGate()

if hasattr(os, "register_at_fork"):  # pragma: no branch  # not on Windows, which does not fork
    os.register_at_fork(
        before=gate.before_fork,
        after_in_parent=gate.after_in_parent,
        after_in_child=gate.after_in_child,
    )
