"""What it costs a log call that known values are scrubbed from it, with none, few and many of them."""

from __future__ import annotations

import io
import logging
import secrets
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.harness import Mark, measure, sampled
from bench.results import Point, RowResult, Series
from pgp_config.redaction import Redactor, install_redaction, known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.harness import Case, Measured, Options
    from bench.results import Figure

NAME = "redaction"
TITLE = "A log call whose record is scrubbed"

LINE = "%s %s %d in %.1f ms for user %d of 10.0.3.7, tx 0x9f86d081884c7d65"
ARGUMENTS = ("POST", "/v1/exchange?from=eth&to=usdt", 200, 12.5, 4711)

BARE, BARE_ERROR = "bare log call", "bare log call with a traceback"
COUNTS = (0, 43, 1000)

#: Calls in a sample, and seconds of a sample of the plain scrubbing of one text.
CALLS = 500

MARK = Mark(at_most=2.5)

NOTES = (
    (
        "A call of logging.Logger.warning with five arguments, one StreamHandler on a text in memory, and a format"
        " with time, level and name: about 110 characters. A handler that writes to a terminal, a file or a socket"
        " costs far more, and the ratio is lower."
    ),
    (
        "The record is scrubbed before the handlers see it, and what a handler makes of it again: two passes. Each"
        " secret is a random text of 43 characters, known in its plain, hexadecimal and base64 forms."
    ),
    "The time of one pass does not grow with the number of secrets; a text of n characters takes n / 13 look-ups.",
)


def run(options: Options) -> RowResult:
    """Measure the row."""
    measured = measure(
        [
            _case(BARE, None),
            *(_case(_scrubbed(count), count) for count in COUNTS),
            _case("scrubbed, 43 secrets, one of them in the line", 43, shows=True),
            _case(BARE_ERROR, None, fails=True),
            _case(f"{_scrubbed(43)}, with a traceback", 43, fails=True),
        ],
        options,
    )
    texts = measure([_text(count) for count in (1, *COUNTS[1:])], options)
    return RowResult(
        name=NAME,
        title=TITLE,
        figures=tuple(_figures(measured, texts)),
        series=(_growth(texts),),
        notes=NOTES,
    )


def _figures(measured: Measured, texts: Measured) -> Iterator[Figure]:
    yield measured.figure(_scrubbed(43), ratio_to=BARE, mark=MARK)
    yield measured.figure(_scrubbed(1000), ratio_to=_scrubbed(43), mark=Mark(at_most=1.15))
    yield measured.figure(f"{_scrubbed(43)}, with a traceback", ratio_to=BARE_ERROR)
    yield measured.figure(BARE_ERROR)
    yield from measured.figures(
        floor=BARE, without=[BARE_ERROR, f"{_scrubbed(43)}, with a traceback"]
    )
    yield from (texts.figure(name) for name in texts.samples)


def _growth(texts: Measured) -> Series:
    points = [Point(x=count, y=1e6 * texts.median(_of_text(count))) for count in (1, *COUNTS[1:])]
    return Series(
        plot="redaction",
        name="one text of 1,000 characters",
        x_label="secrets known",
        y_label="µs",
        points=tuple(points),
    )


def _scrubbed(count: int) -> str:
    return f"scrubbed, {count} secrets"


def _of_text(count: int) -> str:
    return f"redact(1,000 characters), {count} secrets"


def _knowing(count: int) -> Redactor:
    made = Redactor()
    for number in range(count):
        made.learn(f"SECRET_{number}", (secrets.token_urlsafe(32),))
    made.redact("")
    return made


def _case(name: str, count: int | None, *, shows: bool = False, fails: bool = False) -> Case:
    """A log call; without a count nothing is installed."""

    @contextmanager
    def prepared() -> Iterator[Callable[[], float]]:
        logger = logging.Logger("bench")  # noqa: LOG001  not to be kept
        handler = logging.StreamHandler(io.StringIO())
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        logger.addHandler(handler)
        knowing = _knowing(count or 0)
        if shows:
            knowing.learn("SHOWN", (ARGUMENTS[1],))
        write = logger.exception if fails else logger.warning

        def sample() -> float:
            handler.setStream(io.StringIO())
            if count is None:
                return _timed(write, fails=fails)
            with install_redaction(), _in_place(knowing):
                return _timed(write, fails=fails)

        yield sample

    return sampled(name, prepared)


@contextmanager
def _in_place(knowing: Redactor) -> Iterator[None]:
    """The cases are measured in turns, and the process has one redactor."""
    before, known.redactor = known.redactor, knowing
    try:
        yield
    finally:
        known.redactor = before


def _timed(write: Callable[..., None], *, fails: bool) -> float:
    try:
        raise ValueError if fails else StopIteration
    except (ValueError, StopIteration):
        begun = time.thread_time()
        for _ in range(CALLS):
            write(LINE, *ARGUMENTS)
        return (time.thread_time() - begun) / CALLS


def _text(count: int) -> Case:
    @contextmanager
    def prepared() -> Iterator[Callable[[], float]]:
        knowing = _knowing(count)
        text = ((LINE % ARGUMENTS) * 10)[:1000]

        def sample() -> float:
            begun = time.thread_time()
            for _ in range(CALLS):
                knowing.redact(text)
            return (time.thread_time() - begun) / CALLS

        yield sample

    return sampled(_of_text(count), prepared)
