"""What is confidential in this process, and its replacement by the name of its secret."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from pgp_config.redaction.index import Index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pgp_config.redaction.index import Place

#: Values of a secret that are remembered: the current one and those that it replaced lately.
REMEMBERED_VERSIONS = 8

#: Shorter texts are not scrubbed; `forms` has it too, which is imported when somebody writes.
_SHORTEST = 4


class _Version:
    """The confidential texts of one version of a secret."""

    __slots__ = ("forms", "name", "texts")

    def __init__(self, name: str, texts: tuple[str, ...]) -> None:
        self.name = name
        self.texts = texts
        self.forms: set[str] = set()

    def __repr__(self) -> str:
        return f"<A version of {self.name}>"


class Redactor:
    """Knows the confidential texts of this process, and replaces them by their secret's name.

    Of each name the last 8 versions are remembered for as long as the process lives, also when its container
    was closed: a thread, an exception or a queue of records may still hold them. So memory is bounded by
    the number of names.
    """

    def __init__(self) -> None:
        self._versions: dict[str, deque[_Version]] = {}
        # In the order in which they are to be worked in: those to look for, and those to forget.
        self._pending: dict[_Version, bool] = {}
        self._index = Index()
        self._owners: dict[str, dict[_Version, None]] = {}
        self.renew_after_fork()

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._versions)} secrets>"

    def learn(self, name: str, texts: Iterable[str]) -> None:
        """Remember the confidential texts of a secret's newest version.

        Args:
            name: The secret's name, which will stand in their place.
            texts: What may not be shown; texts of under 4 characters are left out.
        """
        kept = tuple(text for text in texts if len(text) >= _SHORTEST)
        if not kept:
            return
        with self._lock:
            versions = self._versions.setdefault(name, deque())
            known = next((version for version in versions if version.texts == kept), None)
            if known is None:
                known = _Version(name, kept)
                self._pending[known] = True
            else:
                versions.remove(known)  # back after a rollback: now the newest
            versions.append(known)
            if len(versions) > REMEMBERED_VERSIONS:
                self._drop(versions.popleft())

    def forget(self, *names: str) -> None:
        """Scrub the values of these secrets no more; a test's, say. Names that are not known do nothing."""
        with self._lock:
            for name in names:
                for version in self._versions.pop(name, ()):
                    self._drop(version)

    @property
    def names(self) -> frozenset[str]:
        """The secrets of which values are known."""
        return frozenset(self._versions)

    def redact(self, text: str) -> str:
        """The text with each known value, in any of its forms, replaced by `[NAME]`.

        Time is linear in the text, and does not grow with the number of secrets. Doing it twice changes
        nothing more.
        """
        if self._pending:
            self._work_in()
        found = self._index.find(text) if self._versions else []
        if not found:
            return text
        text = _replaced(text, found, lambda place: f"[{self._name(text, place)}]")
        # A name may hold a value, or make one together with what stands beside it. Each round is shorter.
        while found := self._index.find(text):
            text = _replaced(text, found, lambda _place: "")
        return text

    def _name(self, text: str, place: Place) -> str:
        begin, _, first_end = place
        return self._index.name(text[begin:first_end])

    def _drop(self, version: _Version) -> None:
        self._pending.pop(version, None)
        self._pending[version] = False

    def _work_in(self) -> None:
        # When somebody writes, and not with each version: 500 secrets would take long to load.
        with self._lock:
            # A signal handler may write to the log between any two lines here, and will do the same again.
            for version, is_wanted in list(self._pending.items()):
                if is_wanted:
                    self._add(version)
                else:
                    self._remove(version)
                self._pending.pop(version, None)

    def _add(self, version: _Version) -> None:
        from pgp_config.redaction.forms import forms_of  # noqa: PLC0415  not for an import of pgp_config

        version.forms = set().union(*map(forms_of, version.texts))
        for form in version.forms:
            self._owners.setdefault(form, {})[version] = None
            self._index.add(form, version.name)

    def _remove(self, version: _Version) -> None:
        for form in version.forms:
            owners = self._owners.get(form, {})
            owners.pop(version, None)
            if owners:
                self._index.add(form, next(reversed(owners)).name)
            else:
                self._owners.pop(form, None)
                self._index.discard(form)

    def renew_after_fork(self) -> None:
        """Replace the lock, which another thread may have held at the fork."""
        # Re-entrant: a signal handler may write to the log in a thread that holds it.
        self._lock = threading.RLock()


def _replaced(text: str, found: Iterable[Place], stand_in: Callable[[Place], str]) -> str:
    pieces: list[str] = []
    after = 0
    for place in found:
        begin, end, _ = place
        pieces += text[after:begin], stand_in(place)
        after = end
    return "".join([*pieces, text[after:]])


redactor = Redactor()


def redact(text: str) -> str:
    """The text with every confidential value known to this process replaced by `[NAME]`."""
    return redactor.redact(text)
