"""What a backend cannot do is skipped, with the reason that it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

A = TypeVar("A", bound=str)


class Lacking(Protocol[A]):
    """Whatever says what it lacks."""

    @property
    def lacks(self) -> Mapping[A, str]:
        """The reason, by ability."""
        ...


def needs(backend: Lacking[A], *abilities: A) -> None:
    """Skip the test where the backend says that it lacks one."""
    __tracebackhide__ = True
    for ability in abilities:
        if ability in backend.lacks:
            pytest.skip(f"{type(backend).__name__} lacks {ability!r}: {backend.lacks[ability]}")
