"""pgp_config for Flask: one request, one scope; secrets loaded at start-up; health pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from flask import Blueprint, Flask, Response, jsonify

from pgp_config import DeclarationError, PgpConfigError, RejectedVersion, SecretUnavailable
from pgp_config.health import (
    Answer,
    liveness,
    paths_of,
    readiness,
    refuse_non_container,
    refuse_taken,
    unavailable,
)
from pgp_config.wsgi import LoadMiddleware, PushMiddleware, ScopeMiddleware, StatusMiddleware
from pgp_config_flask.sessions import KeyRingSessionInterface

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgp_config.health import Container, Paths
    from pgp_config.status import StatusPage
    from pgp_config.wsgi import Push

__all__ = ["KeyRingSessionInterface", "Load", "install"]

#: When secrets are loaded: at once, before the first request of each process, or by the caller.
Load: TypeAlias = Literal["install", "first_request", "never"]

_NAME = "pgp_config"


def install(
    app: Flask,
    container: Container,
    *,
    load: Load = "install",
    health: bool | str = True,
    push: Push | None = None,
    status: StatusPage | None = None,
) -> None:
    """Give each request of an application one scope, and load the container.

    An uncaught `SecretUnavailable` or `RejectedVersion` is answered with 503 and `Retry-After`,
    unless the application has a handler of its own for it.

    Args:
        app: The application, before its first request.
        container: An instance of a `SecretContainer`; whoever made it closes it.
        load: `"install"`: now, and in gunicorn's workers not again with `--preload`.
            `"first_request"`: before the first request of each process but `/healthz`; it is answered
            with 503 while secrets are missing. `"never"`: the caller calls `load()`.
        health: Whether `/healthz` and `/readyz` are served, or the prefix under which they are. They
            are a blueprint named `pgp_config`.
        push: Where rotations are heard of: a `PushEndpoint`, or a `PubSubListener`, which is started with
            each process's first request.
        status: A `pgp_config.status.StatusPage`, where there is to be one.

    Raises:
        DeclarationError: If an argument is wrong, the application has it already, has a page at one
            of these paths, or has served a request.
        StartupError: If `load="install"` finds faults; all are named, and the application is as
            before.
    """
    paths = paths_of(health)
    refuse_non_container(container)
    _refuse_load(load)
    _refuse_app(app, paths, push, status)
    if status is not None:
        status.attach(container, push=push)  # before the load, which is seen
    if load == "install":
        container.load()
    app.extensions[_NAME] = container
    # The name is how Flask documents that middleware is put in.
    app.wsgi_app = ScopeMiddleware(app.wsgi_app)  # type: ignore[method-assign]
    if load == "first_request":
        exempt = () if paths is None else (paths.liveness,)
        app.wsgi_app = LoadMiddleware(app.wsgi_app, container, exempt=exempt)  # type: ignore[method-assign]  # as above
    if push is not None:
        app.wsgi_app = PushMiddleware(app.wsgi_app, container, push)  # type: ignore[method-assign]  # as above
    if status is not None:
        app.wsgi_app = StatusMiddleware(app.wsgi_app, container, status)  # type: ignore[method-assign]  # as above
    if paths is not None:
        app.register_blueprint(_pages(container), url_prefix=paths.prefix or None)
    _answer_unavailable(app)


def _refuse_load(load: object) -> None:
    if load not in get_args(Load):
        raise DeclarationError(
            f"load={load!r} says no time to load at",
            remedy="Give 'install', 'first_request' or 'never'.",
        )


def _refuse_app(
    app: object, paths: Paths | None, push: Push | None, status: StatusPage | None
) -> None:
    if not isinstance(app, Flask):
        raise DeclarationError(
            f"install() was given a {type(app).__name__} in place of a Flask application",
            remedy="Call install(app, container).",
        )
    if _NAME in app.extensions:
        raise DeclarationError(
            "pgp_config is installed in this application already",
            remedy="Install one container; the scope serves every other that is loaded.",
        )
    if app._got_first_request:  # noqa: SLF001  Flask has no public name for it since 2.3
        raise DeclarationError(
            "the application has served a request already",
            remedy="Call install() where the application is made.",
        )
    used = [rule.rule for rule in app.url_map.iter_rules()]
    refuse_taken(paths, used, push=push, status=status)
    if status is not None:
        status.require_plain_auth()


def _pages(container: Container) -> Blueprint:
    pages = Blueprint(_NAME, __name__)
    for name, build in (("healthz", liveness), ("readyz", readiness)):
        pages.add_url_rule(f"/{name}", name, _page(build, container))
    return pages


def _page(build: Callable[[Container], Answer], container: Container) -> Callable[[], Response]:
    return lambda: _response(build(container))


def _answer_unavailable(app: Flask) -> None:
    handlers: dict[type[Exception], Any] = app.error_handler_spec[None][None]
    for kind in (SecretUnavailable, RejectedVersion):
        if not {kind, PgpConfigError} & handlers.keys():
            app.register_error_handler(kind, _unavailable)


def _unavailable(error: PgpConfigError) -> Response:
    return _response(unavailable(error))


def _response(answer: Answer) -> Response:
    response = jsonify(answer.content)
    response.status_code = answer.status
    response.headers.update(answer.headers)
    return response
