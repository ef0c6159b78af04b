"""Serves a service on a socket until SIGTERM or SIGINT: gunicorn for Flask, uvicorn for FastAPI.

An application is made, and its secrets are loaded, before a server starts: what is missing is an error
here, and not one of a process that the server tries to start again and again.
"""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn

from pgp_services import registry
from pgp_services.serving.polling import Polling
from pgp_services.serving.responder import Responder

if TYPE_CHECKING:
    import socket

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
        PgpConfigError: If a setting or a secret is missing or cannot be used.
    """
    _leave_on_signals()
    with ExitStack() as ends:
        secrets = registry.deployed(service)
        ends.callback(secrets.close)
        polls = registry.polls(service, secrets.settings())
        _refuse_workers(service, workers, polls=polls)
        if registry.REGISTRY[service].framework == "fastapi":
            _serve_fastapi(service, secrets, listener)
        else:
            polling = _polling(service, secrets) if polls else None
            ends.callback(registry.handler_of(secrets).close)
            alerts = secrets.alerts()
            if alerts is not None:
                ends.callback(alerts.close)
            _serve_flask(service, secrets, listener, polling, workers=workers, threads=threads)


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
    return Polling(container.updates, lambda update: responder.respond(take, update))


def _serve_fastapi(service: Service, secrets: Fleet, listener: socket.socket) -> None:
    import uvicorn  # noqa: PLC0415  a Flask service does not need it

    from pgp_services.serving import fastapi_app  # noqa: PLC0415  as above

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
    service: Service,
    secrets: Fleet,
    listener: socket.socket,
    polling: Polling | None,
    *,
    workers: int,
    threads: int,
) -> None:
    from pgp_services.serving import flask_app  # noqa: PLC0415  a FastAPI service does not need it
    from pgp_services.serving.gunicorn_server import GunicornServer  # noqa: PLC0415  as above

    app = flask_app.create_app(service, secrets)
    _tell(service, listener)
    GunicornServer(app, listener, polling, workers=workers, threads=threads, grace=GRACE).run()


def _tell(service: Service, listener: socket.socket) -> None:
    host, port, *_ = listener.getsockname()
    print(f"{service} listens on {host} port {port}", file=sys.stderr, flush=True)  # noqa: T201  a program
