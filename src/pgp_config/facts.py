"""Frozen records whose methods are shared: a dataclass generates and compiles them, 0.35 ms a class at import.

For records that are made once a fetch or more seldom: making one takes 1 µs longer than a dataclass.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar, dataclass_transform

T = TypeVar("T")


class Record:
    """What all records have; a subclass adds its fields with the decorator `fact`."""

    __slots__ = ()

    # Of the subclass: the names of its fields, their defaults, and which of them are shown.
    __match_args__: tuple[str, ...] = ()
    _defaults: MappingProxyType[str, object] = MappingProxyType({})
    _shown: tuple[str, ...] = ()

    def __init__(self, *values: object, **named: object) -> None:
        names = self.__match_args__
        by_place = dict(zip(names, values, strict=False))
        given = {**self._defaults, **by_place, **named}
        if len(values) > len(names) or by_place.keys() & named or given.keys() != {*names}:
            raise TypeError(f"{type(self).__name__} takes, each once: {', '.join(names)}")
        for name, value in given.items():
            object.__setattr__(self, name, value)
        self.__post_init__()

    def __post_init__(self) -> None:
        """What a subclass checks, as in a dataclass."""

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__match_args__)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._shown)
        return f"{type(self).__name__}({shown})"

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self._values()


class Fact(Record):
    """A record that equals another of its class with the same content; a `Record` equals only itself."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())


@dataclass_transform(frozen_default=True, field_specifiers=(Field, field))
def fact(cls: type[T]) -> type[T]:
    """Make a subclass of `Record` a frozen dataclass with slots; a default is one object for all."""
    made: Any = dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    parts = fields(made)
    defaults = {p.name: p.default for p in parts if p.default is not MISSING}
    made._defaults = MappingProxyType(defaults)  # noqa: SLF001  see `Record`
    made._shown = tuple(part.name for part in parts if part.repr)  # noqa: SLF001  as above
    return made  # type: ignore[no-any-return]  # a new class with slots
