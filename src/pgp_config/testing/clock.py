"""Monotonic seconds that pass only when a test says so."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pgp_config.errors import DeclarationError
from pgp_config.policy import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from pgp_config.cache import Cache
    from pgp_config.providers import SecretContainer


class FakeClock:
    """A clock for a container: `MyContainer(source=…, clock=clock)`, or `clock.driving(container)`.

    It decides what is fresh, what is served stale, and when something that failed is tried again. Waiting for an
    answer of the source is real time.

    Args:
        start: What it shows at first, in seconds.

    Attributes:
        now: What it shows, in seconds.
    """

    def __init__(self, start: float = 1000.0) -> None:
        self.now = start

    def __repr__(self) -> str:
        return f"<FakeClock at {self.now} s>"

    def __call__(self) -> float:
        """As `time.monotonic`."""
        return self.now

    def advance(self, duration: float | timedelta) -> None:
        """Let time pass.

        Args:
            duration: Seconds or a `timedelta`, 0 or more.

        Raises:
            DeclarationError: If it is negative, infinite or not a number: monotonic clocks go forwards.
        """
        self.now += seconds(duration, what="what the clock is advanced by")

    @contextmanager
    def driving(self, container: SecretContainer) -> Iterator[None]:
        """While it is open, a container that was made with another clock goes by this one.

        For a container that is made where a test cannot reach. At the end its own clock goes on, from where this one
        has come to.

        Args:
            container: Not read by other threads at the moment of the change.

        Raises:
            DeclarationError: If it is a class.
        """
        cache = container._cache  # noqa: SLF001  no service may change its clock, so it has no public name
        if cache is None:
            raise DeclarationError(
                "a container class has no clock",
                remedy="Give the instance: MyContainer(source=…).",
            )
        real = cache.clock
        self.now = max(self.now, real())
        _set_clock(cache, self)
        try:
            yield
        finally:
            # Never backwards: what was confirmed in the future would be fresh until then.
            ahead = self.now - real()
            _set_clock(cache, lambda: real() + ahead if ahead > 0 else real())


def _set_clock(cache: Cache, clock: Callable[[], float]) -> None:
    cache.clock = clock
    for entry in cache._entries.values():  # noqa: SLF001  as above
        if entry.verdicts is not None:
            entry.verdicts.clock = clock
