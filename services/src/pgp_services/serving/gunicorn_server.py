"""gunicorn for a service: no command line, no configuration file."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Protocol

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]  # it has no types
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]  # as above

from pgp_config import PgpConfigError

if TYPE_CHECKING:
    import socket

    from flask import Flask

#: With this code a worker ends whose application cannot be loaded: gunicorn ends then, and starts no other one.
_CANNOT_LOAD: int = Arbiter.APP_LOAD_ERROR


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
        self._options: dict[str, object] = {
            "bind": f"fd://{listener.detach()}",  # gunicorn closes it
            "worker_class": "gthread",
            "workers": workers,
            "threads": threads,
            "graceful_timeout": grace,
            "loglevel": "warning",
            "control_socket_disable": True,  # a way in that nobody asked for
            "post_worker_init": lambda worker: served.begin(),  # noqa: ARG005  gunicorn's hook
            "worker_exit": lambda server, worker: served.end(),  # noqa: ARG005  as above
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

    def load(self) -> Flask:
        """Gunicorn's hook: the application, in a worker."""
        try:
            return self._served.load()
        except PgpConfigError as fault:
            print(fault, file=sys.stderr, flush=True)  # noqa: T201  a program
        # Not raised in the handler: gunicorn would show the fault's traceback.
        sys.exit(_CANNOT_LOAD)
