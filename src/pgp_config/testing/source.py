"""A source for tests: it fails when told to, holds answers back, and counts the calls."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pgp_config.errors import PgpConfigError, SecretUnavailable
from pgp_config.sources.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgp_config.payload import Payload

#: Seconds after which a call that nobody releases ends by itself; a guard, not a pace.
PATIENCE = 30.0


class Hold:
    """Calls that are held back.

    Attributes:
        entered: Set when the first one has come.
    """

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._released = threading.Event()

    def release(self) -> None:
        """Let them go on, and those that come later."""
        self._released.set()

    def pause(self) -> None:
        """Wait to be released.

        Raises:
            SecretUnavailable: If nobody did for 30 s.
        """
        self.entered.set()
        if not self._released.wait(PATIENCE):
            raise SecretUnavailable("was held back, and never released", remedy="Call release().")


class FakeSource(Memory):
    """Secrets in memory, with versions and states as those of `Memory`, and with faults.

    Args:
        values: The first version of each secret, as text or bytes.

    Attributes:
        closed: How often it was closed.

    Raises:
        DeclarationError: As `Memory`.
    """

    def __init__(self, values: Mapping[str, str | bytes] | None = None) -> None:
        __tracebackhide__ = True  # a report with locals would show the values
        super().__init__()
        self.closed = 0
        self._calls: list[tuple[str, int | str]] = []
        self._faults: dict[str | None, Exception] = {}
        self._holds: dict[str, Hold] = {}
        for name, value in (values or {}).items():
            self.add(name, value)

    @property
    def calls(self) -> list[tuple[str, int | str]]:
        """The name and the version, a number or "latest", of each call so far."""
        return list(self._calls)

    def count(self, name: str | None = None) -> int:
        """How many calls there were, for one secret or for all."""
        return sum(name in (None, called) for called, _ in self.calls)

    def fail(self, name: str | None = None, error: Exception | None = None) -> None:
        """Answer with an error, for one secret or for all, until `recover`.

        Args:
            name: The secret's name; None for every secret that has no error of its own.
            error: What is raised: an outage (`SecretUnavailable`) by default.
        """
        self._faults[name] = error or SecretUnavailable(
            "the source was told to fail", remedy="Call recover()."
        )

    def recover(self, name: str | None = None) -> None:
        """End what `fail` began with the same name; without one, all of it."""
        if name is None:
            self._faults.clear()
        else:
            self._faults.pop(name, None)

    @contextmanager
    def outage(self, name: str | None = None) -> Iterator[None]:
        """While it is open, one secret or all of them cannot be had."""
        self.fail(name)
        try:
            yield
        finally:
            self.recover(name)

    def hold(self, name: str) -> Hold:
        """Hold back calls for one secret, until released."""
        hold = self._holds[name] = Hold()
        return hold

    def fetch(self, name: str, version: int | str = "latest") -> Payload:
        """As `Source.fetch`.

        Raises:
            Exception: As told.
        """
        self._calls.append((name, version))
        hold = self._holds.get(name)
        if hold is not None:
            hold.pause()
        fault = self._faults.get(name) or self._faults.get(None)
        if fault is not None:
            # One exception that several threads raise would collect all their tracebacks.
            raise fault.located(secret=name) if isinstance(fault, PgpConfigError) else fault
        return super().fetch(name, version)

    def close(self) -> None:
        """Note it; it stays usable."""
        self.closed += 1
