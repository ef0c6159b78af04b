"""gunicorn for a Flask application that is made already: no command line, no configuration file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]  # it has no types

if TYPE_CHECKING:
    import socket

    from flask import Flask

    from pgp_services.serving.polling import Polling


class GunicornServer(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with worker class `gthread`; forks its workers from this process.

    Args:
        app: The application; its secrets are loaded.
        listener: Bound, and listening.
        polling: Runs in the worker, for as long as it lives; there is one worker then.
        workers: Processes.
        threads: Threads in each.
        grace: Seconds for the requests at hand after SIGTERM.
    """

    def __init__(
        self,
        app: Flask,
        listener: socket.socket,
        polling: Polling | None,
        *,
        workers: int,
        threads: int,
        grace: int,
    ) -> None:
        self._app = app
        self._options: dict[str, object] = {
            "bind": f"fd://{listener.detach()}",  # gunicorn closes it
            "worker_class": "gthread",
            "workers": workers,
            "threads": threads,
            "graceful_timeout": grace,
            "loglevel": "warning",
            "control_socket_disable": True,  # a way in that nobody asked for
        }
        if polling is not None:
            self._options["post_worker_init"] = lambda worker: polling.start()  # noqa: ARG005  gunicorn's hook
            self._options["worker_exit"] = lambda server, worker: polling.stop()  # noqa: ARG005  as above
        super().__init__()

    def load_config(self) -> None:
        """Gunicorn's hook: its settings."""
        for name, value in self._options.items():
            if name in self.cfg.settings:  # the control socket came with 25.1
                self.cfg.set(name, value)

    def load(self) -> Flask:
        """Gunicorn's hook: the application."""
        return self._app
