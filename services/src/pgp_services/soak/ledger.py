"""The secrets of the soak in the local Secret Manager, and a note of each change for the checker."""

from __future__ import annotations

import secrets as random_secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgp_config.testing.history import Change

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgp_config.emulator import SecretManagerEmulator
    from pgp_config.testing.history import History
    from pgp_services.lookalikes import ChangeNowServer

#: The dynamic secrets that each request of the pilot reads, and the values that they alternate between
#: or, for a text with a number's place, count through.
DYNAMIC: dict[str, tuple[str, ...]] = {
    "CHANGENOW_API_KEY": (),
    "PGP_SPLIT1_RESPONSE_QUEUE": ("split1-response-{}",),
    "PGP_SPLIT1_URL": ("https://split1-{}.example",),
    "SERVICE_ENVIRONMENT": ("staging", "prod"),
    "LOG_LEVEL": ("WARNING", "ERROR"),
    "ALERTING_ENABLED": ("true", "false"),
}


@dataclass(slots=True)
class _Page:
    """What the source holds of one secret.

    Attributes:
        good: For each version, whether it may be served.
        disabled: The numbers of those that are disabled.
        limit: The version past which the source does not show or not deliver any; None for none.
    """

    good: list[bool] = field(default_factory=list)
    disabled: set[int] = field(default_factory=set)
    limit: int | None = None

    def newest(self, limit: int | None = None) -> int:
        numbers = range(1, len(self.good) + 1)
        fit = [n for n in numbers if self.good[n - 1] and n not in self.disabled]
        return max(n for n in fit if limit is None or n <= limit)


class Ledger:
    """Changes secrets and notes what the source holds from then on.

    Args:
        manager: The local Secret Manager, with a good first version of each secret in it.
        changenow: Is told of each new key before Secret Manager is.
        history: Takes the notes.
    """

    def __init__(
        self, manager: SecretManagerEmulator, changenow: ChangeNowServer, history: History
    ) -> None:
        self._manager = manager
        self._changenow = changenow
        self._history = history
        self._pages = {name: _Page() for name in DYNAMIC}
        for name in DYNAMIC:
            self._note(name, lambda page: page.good.append(True))

    def newest(self, name: str) -> int:
        """The newest good version that the source shows of a secret."""
        page = self._pages[name]
        return page.newest(page.limit)

    def rotate(self, name: str, *, revoke: bool = False) -> None:
        """Add a good version.

        Args:
            name: The secret.
            revoke: Of the key: whether ChangeNow refuses the one before at the same moment.
        """

        def add(page: _Page) -> None:
            value = self._next(name, len(page.good) + 1)
            if name == "CHANGENOW_API_KEY":
                store = lambda: self._manager.add(name, value)  # noqa: E731  as short as that
                self._changenow.rotate(value, store, overlap=not revoke)
            else:
                self._manager.add(name, value)
            page.good.append(True)

        self._note(name, add)

    def reinstate(self) -> None:
        """Have ChangeNow accept every key so far again."""
        self._changenow.reinstate()

    def _next(self, name: str, number: int) -> str:
        values = DYNAMIC[name]
        if not values:
            return random_secrets.token_hex(32)
        return values[number % len(values)].format(number)

    def spoil(self, name: str, value: str | bytes) -> None:
        """Add a version that may not be served."""

        def add(page: _Page) -> None:
            self._manager.add(name, value)
            page.good.append(False)

        self._note(name, add)

    def disable_newest(self, name: str) -> None:
        """Disable the newest version; one that is good must be left."""

        def disable(page: _Page) -> None:
            self._manager.disable(name, len(page.good))
            page.disabled.add(len(page.good))

        self._note(name, disable)

    def enable_all(self, name: str) -> None:
        """Enable every disabled version."""

        def enable(page: _Page) -> None:
            for number in page.disabled:
                self._manager.enable(name, number)
            page.disabled.clear()

        self._note(name, enable)

    def lag(self, name: str) -> None:
        """Have `latest` stay where it is, whatever is added."""
        self._limit(name, lambda newest: self._manager.lag(name, newest))

    def damage(self, name: str) -> None:
        """Have each payload arrive with a wrong checksum."""
        self._limit(name, lambda _: self._manager.corrupt(name))

    def _limit(self, name: str, act: Callable[[int], object]) -> None:
        def limit(page: _Page) -> None:
            page.limit = len(page.good)
            act(page.limit)

        self._note(name, limit)

    def heal(self, name: str) -> None:
        """End all faults, and the lag of this secret."""

        def heal(page: _Page) -> None:
            self._manager.lag(name, None)
            self._manager.clear_faults()
            page.limit = None

        self._note(name, heal)

    def _note(self, name: str, change: Callable[[_Page], object]) -> None:
        page, began = self._pages[name], time.monotonic()
        change(page)
        newest = page.newest(page.limit)
        self._history.add(Change(name, newest, began, time.monotonic(), page.newest()))
