"""What a test left behind: open scopes, open containers, secret values in what it wrote.

A `LeakWatch` notes what happens while it runs, and tells at its end. It patches the engine meanwhile: it is for tests.
The pytest plugin gives it what pytest captured; `no_secret_leaks` looks at the streams itself.
"""

from __future__ import annotations

import copy
import gc
import logging
import sys
import sysconfig
import threading
import warnings
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TextIO, TypeAlias, cast, get_args

from pgp_config.cache import Cache
from pgp_config.errors import DeclarationError
from pgp_config.forking import gate
from pgp_config.providers.key_rings import KeyRing
from pgp_config.providers.secrets import SecretProvider
from pgp_config.redaction import Redactor
from pgp_config.scopes import Scope
from pgp_config.testing.values import Values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

#: What may be left behind: open scopes, containers that hold threads, values in what was written.
Kind: TypeAlias = Literal["scopes", "containers", "output"]

KINDS: tuple[Kind, ...] = get_args(Kind)

#: Open scopes that are remembered; of more, those that were closed are forgotten first.
REMEMBERED = 1_000

#: Attributes that every record of `logging` has; the others are somebody's `extra`.
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}

_STDLIB = sysconfig.get_path("stdlib")

#: The thread of a listener that nobody ended.
_LISTENER = "pgp-config-pubsub"


class SecretLeak(AssertionError):  # noqa: N818  the public name is what happened
    """A test left a scope or a container open, or wrote a secret's value; the text never has one."""


class _Opened(NamedTuple):
    """A scope, and where it was opened."""

    scope: Scope
    where: str


class LeakWatch:
    """Notes what is opened and written from `start` to `stop`.

    Args:
        canaries: Texts that are looked for besides the values of secrets; 4 characters or more.
        allow: What is not looked for.

    Raises:
        DeclarationError: If a canary is shorter, or there is no such kind.
    """

    def __init__(self, canaries: Iterable[str] = (), allow: Iterable[Kind] = ()) -> None:
        self.values = Values(canaries)
        self._kinds = _kinds_but(allow)
        self._patches = ExitStack()
        self._paused = 0
        self._scopes: list[_Opened] = []
        self._before: list[Cache | threading.Thread] = []
        self._written: list[tuple[str, str]] = []
        self._records: list[logging.LogRecord] = []
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<LeakWatch for {', '.join(self._kinds)}>"

    def start(self) -> Self:
        """Begin to take note."""
        self._before = _there()
        for cache in _caches():
            self._learn_all(cache)
        self._patch(Scope, "__enter__", self._noting_scope)
        self._patch(Redactor, "learn", self._noting_values)
        for owner in (SecretProvider, KeyRing):
            self._patch(owner, "_given", self._noting_given)
        self._listen_to_logs()
        self._listen_to_warnings()
        return self

    def stop(self) -> None:
        """Take no more notes; idempotent."""
        self._patches.close()
        # At the end, so that a program's own filter may have scrubbed them. Their tracebacks keep whatever the code above
        # held, such as an answer that was dropped: its scope would look open.
        self._written += [(_place_of(record), _text_of(record)) for record in self._records]
        self._records.clear()

    def close_scopes(self) -> None:
        """Close what was left open: what comes next in this context would read from it."""
        for scope, _ in self._scopes:
            scope.close()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While it is open, what is opened lives longer than the test, and is none of its leaks."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1
            self._before += _there()

    def look_for(self, *canaries: str) -> None:
        """Look for more texts.

        Raises:
            DeclarationError: If one has under 4 characters.
        """
        self.values.add_canaries(canaries)

    def see(self, where: str, text: str) -> None:
        """Take note of something that was written.

        Args:
            where: What it is, for the report: "captured stdout".
            text: What was written.
        """
        if text:
            self._written.append((where, text))

    def found(self) -> list[str]:
        """What was left behind, without a value."""
        found = []
        if "containers" in self._kinds:
            found += [_shown(item) for item in _there() if self._is_left(item)]
        if "scopes" in self._kinds:
            found += [f"a scope is open, from {where}" for where in self._open_scopes()]
        if "output" in self._kinds:
            found += self._values_written()
        return found

    def _is_left(self, item: Cache | threading.Thread) -> bool:
        return _is_open(item) and not any(item is each for each in self._before)

    # -- scopes ------------------------------------------------------------------------------

    def _noting_scope(self, enter: Callable[[Scope], Scope]) -> Callable[[Scope], Scope]:
        @wraps(enter)
        def noted(scope: Scope) -> Scope:
            if not self._paused:
                with self._lock:
                    if len(self._scopes) >= REMEMBERED:
                        self._scopes = [each for each in self._scopes if not each.scope.closed]
                    self._scopes.append(_Opened(scope, _caller(sys._getframe(1))))  # noqa: SLF001  documented; inspect.stack reads files
            return enter(scope)

        return noted

    def _open_scopes(self) -> list[str]:
        if any(scope.tick > 0 for scope, _ in self._scopes):
            # What nobody holds any more is closed with its holder: an answer that was dropped, in a cycle.
            gc.collect()
        with self._lock:
            # One that was never entered was refused: it has no tick.
            return [where for scope, where in self._scopes if scope.tick > 0]

    # -- values ------------------------------------------------------------------------------

    def _learn_all(self, cache: Cache) -> None:
        for spec in cache.specs():
            known = cache.current(spec)
            if known is not None:
                self.values.learn(spec.name, spec.confidential(known.value))

    def _noting_values(
        self, learn: Callable[[Redactor, str, tuple[str, ...]], None]
    ) -> Callable[[Redactor, str, tuple[str, ...]], None]:
        @wraps(learn)
        def noted(redactor: Redactor, name: str, texts: tuple[str, ...]) -> None:
            self.values.learn(name, texts)
            learn(redactor, name, texts)

        return noted

    def _noting_given(
        self, give: Callable[[SecretProvider[Any], object], object]
    ) -> Callable[[SecretProvider[Any], object], object]:
        @wraps(give)
        def noted(secret: SecretProvider[Any], value: object) -> object:
            given = give(secret, value)
            self.values.learn(secret.name, secret.spec.confidential(given))
            return given

        return noted

    # -- what was written --------------------------------------------------------------------

    def _values_written(self) -> list[str]:
        return [
            f"{where} shows {told}"
            for where, text in self._written
            for told in self.values.find(text)
        ]

    def _listen_to_logs(self) -> None:
        handler = _Keeping(self._records)
        root = logging.getLogger()
        root.addHandler(handler)
        self._patches.callback(root.removeHandler, handler)

    def _listen_to_warnings(self) -> None:
        show = warnings.showwarning

        def noted(  # noqa: PLR0917  as `warnings` calls it
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            text = str(message)
            self.see(f"a {category.__name__} from {filename}:{lineno}", text)
            scrubbed = self.values.scrub(text)
            if scrubbed != text:
                message, line = scrubbed, ""  # else the line of the source would be shown
            show(message, category, filename, lineno, file, line)

        warnings.showwarning = noted
        self._patches.callback(_restore_warnings, noted, show)

    # -- patches -----------------------------------------------------------------------------

    def _patch(self, owner: type, name: str, noting: Callable[[Any], Any]) -> None:
        original = vars(owner)[name]
        setattr(owner, name, noting(original))
        self._patches.callback(setattr, owner, name, original)


class _Keeping(logging.Handler):
    """Keeps records to be read at the end: a filter of the program's may scrub them yet."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self._records.append(record)


class _Tee:
    """A stream that takes note of what is written to it, and writes it on without the values."""

    def __init__(self, stream: TextIO, watch: LeakWatch) -> None:
        self._stream = stream
        self._watch = watch
        self._texts: list[str] = []

    def write(self, text: str) -> int:
        """As that of a stream."""
        self._texts.append(text)
        self._stream.write(self._watch.values.scrub(text))
        return len(text)

    def writelines(self, texts: Iterable[str]) -> None:
        """As that of a stream."""
        self.write("".join(texts))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the stream has
        return getattr(self._stream, name)

    @property
    def text(self) -> str:
        """All that was written."""
        return "".join(self._texts)


@contextmanager
def no_secret_leaks(*canaries: str, allow: Iterable[Kind] = ()) -> Iterator[LeakWatch]:
    """Fail if the block leaves a scope or a container open, or writes a secret's value.

    Values of all containers of the process, current and previous ones, are looked for in `sys.stdout`, `sys.stderr`,
    log records that reach the root logger, and warnings.

    Args:
        canaries: Texts that are looked for besides; 4 characters or more. What follows one, up to a space or a quote,
            is taken as part of it.
        allow: What is not looked for: "scopes", "containers" or "output".

    Raises:
        SecretLeak: At the end, with all that was found, and without a value. An error of the block's own goes first.
        DeclarationError: If a canary is shorter, or there is no such kind.
    """
    watch = LeakWatch(canaries, allow)
    out, err = _Tee(sys.stdout, watch), _Tee(sys.stderr, watch)
    watch.start()
    sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)
    try:
        yield watch
    finally:
        _restore_stream("stdout", out)
        _restore_stream("stderr", err)
        watch.stop()
    watch.see("stdout", out.text)
    watch.see("stderr", err.text)
    found = watch.found()
    watch.close_scopes()
    if found:
        raise SecretLeak(report(found))


def report(found: Iterable[str]) -> str:
    """What was left behind, one thing a line."""
    return "\n".join(f"Left behind: {each}" for each in found)


def _restore_stream(name: str, tee: _Tee) -> None:
    # Somebody else may have replaced it since, and not yet put it back.
    if getattr(sys, name) is tee:
        setattr(sys, name, tee._stream)  # noqa: SLF001  its own


def _restore_warnings(noted: object, show: Any) -> None:  # noqa: ANN401  as `warnings` has it
    if warnings.showwarning is noted:
        warnings.showwarning = show


def _kinds_but(allow: Iterable[Kind]) -> tuple[Kind, ...]:
    allowed = (allow,) if isinstance(allow, str) else tuple(allow)
    unknown = [kind for kind in allowed if kind not in KINDS]
    if unknown:
        raise DeclarationError(
            f"a leak of the kind {unknown[0]!r} is to be allowed",
            remedy=f"There are {', '.join(KINDS)}.",
        )
    return tuple(kind for kind in KINDS if kind not in allowed)


def _caches() -> list[Cache]:
    """Those of all containers of this process."""
    return [each for each in gate.forkables() if isinstance(each, Cache)]


def _there() -> list[Cache | threading.Thread]:
    """What has a life of its own: containers, open or not, and threads of listeners."""
    threads = [t for t in threading.enumerate() if t.name.startswith(_LISTENER)]
    return [*_caches(), *threads]


def _is_open(item: Cache | threading.Thread) -> bool:
    return not isinstance(item, Cache) or item.holds_threads


def _shown(item: Cache | threading.Thread) -> str:
    if isinstance(item, Cache):
        return f"{item.container} was not closed: call close(), or make it with make_secrets"
    return "a PubSubListener still listens: call close()"


def _caller(frame: FrameType | None) -> str:
    """The innermost line outside of this library and the libraries around it, else the innermost of those."""
    first = ""
    while frame is not None:
        name, file = str(frame.f_globals.get("__name__", "")), frame.f_code.co_filename
        if not name.startswith(("pgp_config", "contextlib")):
            where = f"{file}:{frame.f_lineno} in {frame.f_code.co_name}"
            first = first or where
            if "site-packages" not in file and not file.startswith(_STDLIB):
                return where
        frame = frame.f_back
    return first


def _place_of(record: logging.LogRecord) -> str:
    return f"a log record of {record.name} ({record.pathname}:{record.lineno})"


def _text_of(record: logging.LogRecord) -> str:
    """The record as a formatter may write it, with its traceback and what was given as `extra`."""
    extra = [repr(value) for name, value in vars(record).items() if name not in _STANDARD]
    # The formatter leaves its text of the traceback in the record.
    shown = copy.copy(record)
    try:
        message = logging.Formatter().format(shown)
    except Exception:  # noqa: BLE001  a wrong format string, or an argument that fails to show itself
        message = f"{record.msg} {record.args!r}"
    return "\n".join([message, *extra])
