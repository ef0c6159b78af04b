"""Redaction where it holds for the whole process: on logging, on warnings, on the hooks for what nobody caught.

Records are scrubbed in `Logger.callHandlers`, through which those of every logger go, whatever its handlers are,
and whether it propagates or not. What a handler makes of one is scrubbed again in `Handler.format`: a formatter
may show locals, or a line of source.

*Rejected:* filters on handlers, which miss those that are added later, or to a logger that does not propagate;
filters on loggers, which miss the records of their children; a record factory, which is called before `extra` is
there, and which the next library replaces.
"""

from __future__ import annotations

import linecache
import logging
import sys
import threading
import traceback
import warnings as python_warnings
from typing import TYPE_CHECKING, Any, Self

from pgp_config.redaction import forms as _in_time  # noqa: F401  the first record may come as the interpreter ends
from pgp_config.redaction.known import redact
from pgp_config.redaction.records import scrub_record
from pgp_config.redaction.structures import scrub_exception, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType


class _Hook:
    """One function of the standard library, and who wants it to scrub.

    Args:
        owner: The module or class that has it.
        name: Its name there.
        scrubbed: Calls the function that was there before, with its arguments scrubbed.
    """

    def __init__(
        self,
        owner: object,
        name: str,
        scrubbed: Callable[..., Any],
    ) -> None:
        self._owner = owner
        self._name = name
        self._scrubbed = scrubbed
        self._users: set[Redaction] = set()
        self._mine: Callable[..., Any] | None = None
        self._before: Callable[..., Any] | None = None

    def install(self, user: Redaction) -> None:
        if not self._users:
            self._wrap()
        self._users.add(user)

    def _wrap(self) -> None:
        before, scrubbed, users = getattr(self._owner, self._name), self._scrubbed, self._users

        def mine(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401  those of the wrapped one
            # One that another library has wrapped stays where it is when it is uninstalled.
            if not users or self._mine is not mine:
                return before(*arguments, **named)
            return scrubbed(before, *arguments, **named)

        mine.__name__ = mine.__qualname__ = self._name
        self._mine, self._before = mine, before
        setattr(self._owner, self._name, mine)

    def users(self) -> frozenset[Redaction]:
        return frozenset(self._users)

    def uninstall(self, user: Redaction) -> None:
        if user not in self._users:
            return
        self._users.discard(user)
        if not self._users and getattr(self._owner, self._name) is self._mine:
            setattr(self._owner, self._name, self._before)


class Redaction:
    """What one call of `install_redaction` put in place; usable with `with`."""

    def __init__(self, hooks: Iterable[_Hook]) -> None:
        self._hooks = tuple(hooks)
        with _lock:
            for hook in self._hooks:
                hook.install(self)

    def uninstall(self) -> None:
        """Undo it, unless another call wants it too; idempotent."""
        with _lock:
            for hook in self._hooks:
                hook.uninstall(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.uninstall()


def install_redaction(
    *, logs: bool = True, warnings: bool = True, excepthook: bool = True
) -> Redaction:
    """Scrub what this process writes: every value that its containers have known, in the usual forms.

    Call it once, anywhere, before or after logging is configured. A second call costs nothing, and is undone
    by itself.

    Args:
        logs: What all loggers are given, for whatever handlers, also those that are added later.
        warnings: What `warnings.warn` shows.
        excepthook: Tracebacks that nobody caught: of the program (`sys.excepthook`), of threads
            (`threading.excepthook`), and of finalisers (`sys.unraisablehook`).
    """
    wanted = [(logs, _LOGS), (warnings, _WARNINGS), (excepthook, _EXCEPTIONS)]
    return Redaction(hook for is_wanted, hooks in wanted if is_wanted for hook in hooks)


def installed() -> frozenset[Redaction]:
    """All that is in place: for a test kit, which undoes what a test installed."""
    with _lock:
        hooks = (*_LOGS, *_WARNINGS, *_EXCEPTIONS)
        return frozenset().union(*(hook.users() for hook in hooks))


# Re-entrant: a signal handler may exit with another Redaction.
_lock = threading.RLock()


def _call_handlers(before: Callable[..., Any], logger: object, record: logging.LogRecord) -> None:
    scrub_record(record)
    before(logger, record)


def _format(before: Callable[..., Any], handler: object, record: logging.LogRecord) -> str:
    text = before(handler, record)
    if record.exc_text:  # it is kept for the next handler
        record.exc_text = redact(record.exc_text)
    return redact(text) if isinstance(text, str) else text


def _show_warning(  # noqa: PLR0917  as `showwarning` has them
    before: Callable[..., Any],
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,  # noqa: ANN401  any text stream
    line: str | None = None,
) -> None:
    text = text_of(message)
    scrubbed = redact(text)
    # Else whoever formats it reads the line of source, which may hold a value.
    shown = redact(linecache.getline(filename, lineno) if line is None else line)
    told = message if scrubbed == text else scrubbed
    before(told, category, filename, lineno, file, shown)


def _hook(
    before: Callable[..., Any],
    kind: type[BaseException],
    error: BaseException | None,
    trace: TracebackType | None,
) -> None:
    if before is sys.__excepthook__:
        _write(traceback.format_exception(kind, error, trace))
    else:
        before(*_scrubbed(kind, error, trace))


def _thread_hook(before: Callable[..., Any], told: Any) -> None:  # noqa: ANN401  its type is not public
    kind, error, trace, thread = told
    if kind is SystemExit or before is not threading.__excepthook__:
        before(threading.ExceptHookArgs((*_scrubbed(kind, error, trace), thread)))
        return
    name = threading.get_ident() if thread is None else thread.name
    _write([f"Exception in thread {name}:\n", *traceback.format_exception(kind, error, trace)])


def _unraisable_hook(before: Callable[..., Any], told: Any) -> None:  # noqa: ANN401  as above
    if before is not sys.__unraisablehook__:
        before(_Unraisable(told))
        return
    where = f"{told.err_msg or 'Exception ignored in'}: {text_of(told.object, repr)}\n"
    trace = traceback.format_exception(told.exc_type, told.exc_value, told.exc_traceback)
    _write([where, *trace])


class _Unraisable:
    """As `sys.UnraisableHookArgs`, which Python code cannot make."""

    def __init__(self, told: Any) -> None:  # noqa: ANN401  as above
        found = _scrubbed(told.exc_type, told.exc_value, told.exc_traceback)
        self.exc_type, self.exc_value, self.exc_traceback = found
        self.err_msg = told.err_msg and redact(told.err_msg)
        self.object = told.object


def _scrubbed(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> tuple[type[BaseException], BaseException | None, TracebackType | None]:
    if error is None:
        return kind, error, trace
    shown = scrub_exception(error)
    return (kind, error, trace) if shown is error else (type(shown), shown, trace)


def _write(lines: Iterable[str]) -> None:
    if sys.stderr is not None:  # as under pythonw
        sys.stderr.write(redact("".join(lines)))
        sys.stderr.flush()


_LOGS = (
    _Hook(logging.Logger, "callHandlers", _call_handlers),
    _Hook(logging.Handler, "format", _format),
)
_WARNINGS = (_Hook(python_warnings, "showwarning", _show_warning),)
_EXCEPTIONS = (
    _Hook(sys, "excepthook", _hook),
    _Hook(threading, "excepthook", _thread_hook),
    _Hook(sys, "unraisablehook", _unraisable_hook),
)
