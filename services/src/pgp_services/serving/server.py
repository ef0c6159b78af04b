"""Serves a service on a socket until SIGTERM or SIGINT: gunicorn for Flask, uvicorn for FastAPI.

An application is made, and its secrets are loaded, in the process that serves. A parent that had loaded them
would hold their first version for ever, and a rotation would wait for it. What is missing at the start ends the
program, and is not tried again and again; what is missing later ends no worker that serves.
"""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, NoReturn

from pgp_services import registry
from pgp_services.serving.polling import Polling
from pgp_services.serving.responder import Responder
from pgp_services.serving.routes import Call
from pgp_services.settings import Settings

if TYPE_CHECKING:
    import socket

    from flask import Flask

    from pgp_services.fleet import Fleet
    from pgp_services.names import Service

#: Seconds for the requests at hand after SIGTERM; Cloud Run kills after 10.
GRACE = 8


class CannotServeError(ValueError):
    """A service cannot be served like this."""


def serve(service: Service, listener: socket.socket, *, workers: int, threads: int) -> None:
    """Serve a service as its environment variables say, in the main thread of a program.

    It is left by `SystemExit`, under gunicorn in the parent and in each worker.

    Args:
        service: Which.
        listener: Bound, and listening.
        workers: Processes; 1 for a FastAPI service, and for one that asks Telegram for updates.
        threads: Threads in each, of a Flask service.

    Raises:
        CannotServeError: If there are more workers than the service may have.
        PgpConfigError: If a setting is missing or wrong, or, in a FastAPI service, a secret. A worker of a
            Flask service tells it on stderr, and the parent's `SystemExit` has the code 1 if none served before.
    """
    _leave_on_signals()
    polls = registry.polls(service, Settings.from_environ())
    _refuse_workers(service, workers, polls=polls)
    if registry.REGISTRY[service].framework == "fastapi":
        _serve_fastapi(service, listener)
    else:
        _serve_flask(service, listener, polls=polls, workers=workers, threads=threads)


def _leave_on_signals() -> None:
    """While nothing is served yet, and after uvicorn, which repeats the signal that ended it."""

    def leave(*_: object) -> NoReturn:
        raise SystemExit(0)

    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, leave)


def _refuse_workers(service: Service, workers: int, *, polls: bool) -> None:
    if workers == 1:
        return
    if registry.REGISTRY[service].framework == "fastapi":
        raise CannotServeError(f"{service} runs in one process; start more instances of it")
    if polls:
        raise CannotServeError(
            f"{service} asks Telegram for updates, which one process of a bot may do: give it one "
            "worker, or TELEGRAM_UPDATES=off"
        )


def _polling(service: Service, secrets: Fleet) -> Polling:
    container: Any = (
        secrets  # those that poll have `updates`; dependency_injector's types do not say so
    )
    responder = Responder(service, secrets.operations(), secrets.alerts())
    take = container.handler().take
    return Polling(
        container.updates, lambda update: responder.respond(lambda _: take(update), Call())
    )


def _serve_fastapi(service: Service, listener: socket.socket) -> None:
    import uvicorn  # noqa: PLC0415  a Flask service does not need it

    from pgp_services.serving import fastapi_app  # noqa: PLC0415  as above

    with closing(registry.deployed(service)) as secrets:
        secrets.load()
        config = uvicorn.Config(
            fastapi_app.create_app(service, secrets),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE,
        )
        _tell(service, listener)
        uvicorn.Server(config).run(sockets=[listener])


def _serve_flask(
    service: Service, listener: socket.socket, *, polls: bool, workers: int, threads: int
) -> None:
    from pgp_services.serving.gunicorn_server import GunicornServer  # noqa: PLC0415  a FastAPI service does not need it

    served = Served(service, polls=polls)
    _tell(service, listener)
    GunicornServer(served, listener, workers=workers, threads=threads, grace=GRACE).run()


class Served:
    """A Flask service in the worker that serves it.

    Args:
        service: Which.
        polls: Whether it asks Telegram for updates.
    """

    def __init__(self, service: Service, *, polls: bool) -> None:
        self._service = service
        self._polls = polls
        self._ends = ExitStack()
        self._polling: Polling | None = None

    def load(self) -> Flask:
        """Make the application, its secrets loaded; in the worker.

        Raises:
            PgpConfigError: If a setting or a secret is missing or cannot be used.
        """
        from pgp_services.serving import flask_app  # noqa: PLC0415  a FastAPI service does not need it

        with ExitStack() as ends:
            secrets = registry.deployed(self._service)
            ends.callback(secrets.close)
            app = flask_app.create_app(self._service, secrets)
            ends.callback(registry.handler_of(secrets).close)
            alerts = secrets.alerts()
            if alerts is not None:
                ends.callback(alerts.close)
            if self._polls:
                self._polling = _polling(self._service, secrets)
            self._ends = ends.pop_all()
        return app

    def begin(self) -> None:
        """Begin to ask Telegram for updates, if it does; the worker serves."""
        if self._polling is not None:
            self._polling.start()
            self._ends.callback(self._polling.stop)

    def end(self) -> None:
        """Close all that was opened; the worker ends."""
        self._ends.close()


def _tell(service: Service, listener: socket.socket) -> None:
    host, port, *_ = listener.getsockname()
    print(f"{service} listens on {host} port {port}", file=sys.stderr, flush=True)  # noqa: T201  a program
