"""Celery: one run of a task, one scope; the container's life is the worker's, whatever its pool."""

from __future__ import annotations

import logging
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from celery import Celery, current_app, signals  # type: ignore[import-untyped]  # Celery has no types

from pgp_config.errors import DeclarationError, PgpConfigError
from pgp_config.health import refuse_non_container
from pgp_config.scopes import request_scope

if TYPE_CHECKING:
    from pgp_config.health import Container
    from pgp_config.scopes import Scope

_logger = logging.getLogger("pgp_config")

_installed: WeakSet[Any] = WeakSet()


def install(app: Celery, container: Container) -> None:
    """Give each run of a task one scope, and the container the life of the worker.

    The container is loaded when a worker starts, before its pool does: the children of a prefork pool begin
    with its values, and a worker whose load fails exits with every fault. A pool that spawns its children
    loads in each; a child that cannot tries again before each task.

    A retry is a run of its own, and so is a task that `apply()` or `task_always_eager` runs in place. Calling
    a task as a function is no run: it stays in the caller's scope. `before_start`, `on_failure` and the other
    handlers of a task are inside its scope.

    Nothing is loaded in a process that only sends tasks, or runs them eagerly.

    Args:
        app: The application, in the module that both workers and senders import.
        container: An instance of a `SecretContainer`. The worker closes it, and each child its own.

    Raises:
        DeclarationError: If an argument is wrong, or the application has it already.
    """
    refuse_non_container(container)
    if not isinstance(app, Celery):
        raise DeclarationError(
            f"install() was given a {type(app).__name__} in place of a Celery application",
            remedy="Call install(app, container).",
        )
    if app in _installed:
        raise DeclarationError(
            "pgp_config is installed in this application already",
            remedy="Install one container; the scope serves every other that is loaded.",
        )
    _installed.add(app)
    worker = _Worker(app, container)
    # Signals and no Task class: the handlers of a task are inside, and tasks of any class have it.
    for signal, receiver in (
        (signals.worker_init, worker.start),
        (signals.worker_process_init, worker.start_child),
        (signals.worker_process_shutdown, worker.stop_child),
        (signals.worker_shutdown, worker.stop),
        (signals.task_prerun, worker.enter),
        (signals.task_postrun, worker.leave),
    ):
        signal.connect(receiver, weak=False)


class _Worker:
    """What Celery's signals set off in this process, for one application.

    Args:
        app: The application; what happens to others is not for it.
        container: Its container.
    """

    def __init__(self, app: Celery, container: Container) -> None:
        self._app = app
        self._container = container
        self._has_to_load = False
        # Of nested runs: the same task, and even the same id, can run within itself where tasks are eager.
        self._open: ContextVar[tuple[Scope, ...]] = ContextVar("pgp_config_celery", default=())

    def start(self, sender: Any, **_: object) -> None:  # noqa: ANN401  the worker
        """In the worker, before its pool is made."""
        if sender.app is not self._app:
            return
        try:
            self._container.load()
        except PgpConfigError as error:
            self._container.close()
            # Celery logs what a signal's receiver raises and goes on, but for this.
            raise SystemExit(str(error)) from None

    def start_child(self, **_: object) -> None:
        """In a new process of the pool: nothing to do where it was forked after the load."""
        if current_app == self._app:
            self._has_to_load = True
            self._load()

    def _load(self) -> None:
        try:
            # Outside the scope that an eager run may have.
            Context().run(self._container.load)
        except PgpConfigError as error:
            # To exit would have the pool start a new one at once, and again.
            more = error.explained_by
            _logger.error(  # noqa: TRY400  its frames may hold a value
                "Secrets are not loaded, and are tried before the next task: %s (%s)", error, more
            )
        else:
            self._has_to_load = False

    def stop_child(self, **_: object) -> None:
        """At the end of a process of the pool."""
        if current_app == self._app:
            self._container.close()

    def stop(self, sender: Any, **_: object) -> None:  # noqa: ANN401  the worker
        """At the end of the worker."""
        if sender.app is self._app:
            self._container.close()

    def enter(self, sender: Any, **_: object) -> None:  # noqa: ANN401  the task
        """Before a run."""
        if sender.app is not self._app:
            return
        if self._has_to_load:
            self._load()
        scope = request_scope()
        scope.__enter__()  # `leave` is the other half
        self._open.set((*self._open.get(), scope))

    def leave(self, sender: Any, **_: object) -> None:  # noqa: ANN401  the task
        """After a run, whatever came of it."""
        scopes = self._open.get()
        if sender.app is self._app and scopes:
            self._open.set(scopes[:-1])
            scopes[-1].__exit__(None, None, None)
