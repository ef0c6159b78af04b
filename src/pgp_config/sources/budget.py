"""The budget of a fetch: seconds for an attempt and for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pgp_config.errors import DeclarationError
from pgp_config.forking import gate
from pgp_config.policy import seconds
from pgp_config.sources.attempts import Attempts

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

T = TypeVar("T")

#: Seconds that one attempt, and all attempts of a fetch, may take.
ATTEMPT_TIMEOUT, TOTAL_TIMEOUT = 1.0, 2.0


class FetchBudget:
    """Keeps a source's fetches in their time, with retries after faults that may pass; for sources of your own.

    Threads may share it, and forks may copy it. It needs tenacity: `pip install 'pgp-config[source]'`.

    Args:
        attempt_timeout: Seconds (or timedelta) for one attempt, more than 0.
        total_timeout: Seconds (or timedelta) for all attempts of a fetch, `attempt_timeout` or more. The
            last attempt gets what is left.

    Attributes:
        attempt_timeout: As given, in seconds.
        total_timeout: As given, in seconds.

    Raises:
        DeclarationError: If an argument cannot be meant so.
    """

    def __init__(
        self,
        attempt_timeout: float | timedelta = ATTEMPT_TIMEOUT,
        total_timeout: float | timedelta = TOTAL_TIMEOUT,
    ) -> None:
        self.attempt_timeout, self.total_timeout = checked_timeouts(attempt_timeout, total_timeout)
        self._attempts = Attempts("secret-source")
        gate.register(self)

    def run(
        self, attempt: Callable[[float], T], *, may_pass: Callable[[BaseException], bool]
    ) -> T:
        """Try, and again, after a jittered pause, while that may help and time is left.

        Args:
            attempt: One attempt; takes the seconds that it may last. It runs in a thread of its own, which is
                left behind when the time is up.
            may_pass: Whether the same attempt may succeed after what it raised. After a TimeoutError it may.

        Raises:
            TimeoutError: If the last attempt had no outcome in time.
            BaseException: What the last attempt raised; its frames are those of the attempt, so do not let
                them go where a value in them would show.
            DeclarationError: If tenacity is not installed.
        """
        within = _within()
        return within(
            self.total_timeout,
            lambda timeout: self._attempts.run(lambda: attempt(timeout), timeout),
            each=self.attempt_timeout,
            may_pass=lambda fault: isinstance(fault, TimeoutError) or may_pass(fault),
        )

    def renew_after_fork(self) -> None:
        """In a child: the attempts of the parent are not here."""
        self._attempts = Attempts("secret-source")


def checked_timeouts(
    attempt_timeout: float | timedelta, total_timeout: float | timedelta
) -> tuple[float, float]:
    """Both in seconds, if an attempt fits in the whole."""
    attempt = seconds(attempt_timeout, what="attempt_timeout")
    total = seconds(total_timeout, what="total_timeout")
    if 0 < attempt <= total:
        return attempt, total
    raise DeclarationError(
        f"attempt_timeout is {attempt:g} s and total_timeout {total:g} s",
        remedy="Give an attempt more than 0 s, and all attempts together no less than one.",
    )


def _within() -> Callable[..., T]:
    try:
        from pgp_config.sources.retries import within  # noqa: PLC0415  only what fetches needs tenacity
    except ImportError as fault:
        raise DeclarationError(
            f"a library that retries is not installed ({fault.name})",
            remedy="Install it: pip install 'pgp-config[source]'.",
        ) from None
    return within
