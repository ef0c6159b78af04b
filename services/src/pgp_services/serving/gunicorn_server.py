"""gunicorn for a service: no command line, no configuration file.

Until a worker has served, an application that cannot be made ends the program. Afterwards it does not: others may
serve with what they have, and a worker that takes the place of one that died tries until it succeeds.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import time
import zlib
from typing import TYPE_CHECKING, Any, Protocol

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]  # it has no types
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]  # as above

from pgp_config import PgpConfigError

if TYPE_CHECKING:
    import socket

    from flask import Flask

#: With this code a worker ends whose application cannot be loaded: gunicorn ends then, and starts no other one.
_CANNOT_LOAD: int = Arbiter.APP_LOAD_ERROR

#: With this one a worker ends in whose place gunicorn starts another.
_TRY_AGAIN = os.EX_TEMPFAIL

#: Seconds before the second attempt to load; they double with each one, this many times at most: 1, 2, … 16.
_PAUSE, _DOUBLINGS = 1.0, 4

#: Seconds between two looks at whether a worker that pauses is to end.
_LOOK = 0.1


class Service(Protocol):
    """What is served; each is called in a worker."""

    def load(self) -> Flask:
        """Make the application."""
        ...

    def begin(self) -> None:
        """The worker serves from now on."""
        ...

    def end(self) -> None:
        """The worker ends."""
        ...


class _Shared:
    """What the workers of a server know of each other: memory that is mapped before they are forked.

    Nothing is locked: who loses a race pauses for less, or tells what was told.
    """

    _FORMAT, _REST = "=?BI", "=BI"  # the flag has a byte of its own: it is never written back

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, struct.calcsize(self._FORMAT))

    def _read(self) -> tuple[bool, int, int]:
        return struct.unpack_from(self._FORMAT, self._memory)

    @property
    def has_served(self) -> bool:
        """Whether any worker ever has."""
        return self._read()[0]

    def serves(self) -> None:
        """A worker has loaded the application."""
        struct.pack_into(self._FORMAT, self._memory, 0, True, 0, 0)

    def fails(self, why: str) -> tuple[int, bool]:
        """A worker has not.

        Returns:
            How many have failed before it, since one loaded, `_DOUBLINGS` at most; and whether
            this is another reason than the last one's.
        """
        _, failures, last = self._read()
        told = zlib.crc32(why.encode())
        more = min(failures + 1, _DOUBLINGS)
        struct.pack_into(self._REST, self._memory, 1, more, told)
        return failures, told != last


class GunicornServer(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with worker class `gthread`; forks its workers from this process.

    Args:
        served: Made in each worker.
        listener: Bound, and listening.
        workers: Processes.
        threads: Threads in each.
        grace: Seconds for the requests at hand after SIGTERM.
    """

    def __init__(
        self,
        served: Service,
        listener: socket.socket,
        *,
        workers: int,
        threads: int,
        grace: int,
    ) -> None:
        self._served = served
        self._shared = _Shared()
        self._worker: Any = None
        self._options: dict[str, object] = {
            "bind": f"fd://{listener.detach()}",  # gunicorn closes it
            "worker_class": "gthread",
            "workers": workers,
            "threads": threads,
            "graceful_timeout": grace,
            "loglevel": "warning",
            "control_socket_disable": True,  # a way in that nobody asked for
            "post_fork": self._forked,
            "post_worker_init": self._serves,
            "worker_exit": lambda server, worker: served.end(),  # noqa: ARG005  gunicorn's hook
        }
        super().__init__()

    def load_config(self) -> None:
        """Gunicorn's hook: its settings."""
        for name, value in self._options.items():
            if name in self.cfg.settings:  # the control socket came with 25.1
                self.cfg.set(name, value)

    def run(self) -> None:
        """Serve; left by `SystemExit`, in the parent with 0, or 1 if a worker could not load the application."""
        parent = os.getpid()
        try:
            super().run()
        except SystemExit as ended:
            if ended.code == _CANNOT_LOAD and os.getpid() == parent:
                ended.code = 1  # the worker has told why
            raise

    def _forked(self, server: object, worker: object) -> None:  # noqa: ARG002  gunicorn's hook
        self._worker = worker

    def _serves(self, worker: object) -> None:  # noqa: ARG002  gunicorn's hook
        self._served.begin()
        self._shared.serves()

    def load(self) -> Flask:
        """Gunicorn's hook: the application, in a worker."""
        try:
            return self._served.load()
        except PgpConfigError as fault:
            why = str(fault)
        except Exception as fault:
            if not self._shared.has_served:
                raise
            # Raised, it would end gunicorn, and the workers that serve. Its text may be anybody's.
            why = f"The application could not be made ({type(fault).__name__})."
        # Not ended in the handler: gunicorn would show the fault's traceback.
        sys.exit(self._failed(why))

    def _failed(self, why: str) -> int:
        """Tell why this worker could not load; the code to end with: gunicorn ends too, if none has served yet."""
        failures, is_news = self._shared.fails(why)
        has_served = self._shared.has_served
        if is_news:
            tried = " A worker cannot be replaced; it is tried again." if has_served else ""
            print(f"{why}{tried}", file=sys.stderr, flush=True)  # noqa: T201  a program
        if not has_served:
            return _CANNOT_LOAD
        self._pause(_PAUSE * 2**failures)
        return _TRY_AGAIN

    def _pause(self, seconds: float) -> None:
        """Let time pass; less if the worker is to end, or its parent has ended.

        gunicorn's handler of SIGTERM only notes it, and sees to it that no call is interrupted.
        """
        worker, until = self._worker, time.monotonic() + seconds
        while worker.alive and worker.ppid == os.getppid() and time.monotonic() < until:
            worker.notify()  # or gunicorn takes it for one that hangs
            time.sleep(_LOOK)
