"""Scrubs what is made of texts: mappings, lists, and the exceptions that are about to be shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pgp_config.redaction.known import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What stands for a part that holds itself.
CYCLE = "..."


def scrub(value: Any) -> Any:  # noqa: ANN401  anything that is logged
    """A value with every known secret value replaced by `[NAME]`, wherever in it a text is.

    Texts, bytes, mappings (keys too), lists, tuples and sets are looked into, and copied where something was
    replaced; all else is left as it is.
    """
    return _scrubbed(value, {})


def _scrubbed(value: Any, within: dict[int, Any]) -> Any:  # noqa: ANN401  as above
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, bytes):
        return _scrubbed_bytes(value)
    if not isinstance(value, Mapping | list | tuple | set | frozenset):
        return value
    if id(value) in within:
        return CYCLE
    within[id(value)] = value
    try:
        if isinstance(value, Mapping):
            return _mapping(value, lambda part: _scrubbed(part, within))
        return _sequence(value, lambda part: _scrubbed(part, within))
    finally:
        del within[id(value)]


def _scrubbed_bytes(value: bytes) -> bytes:
    text = value.decode(errors="surrogateescape")
    scrubbed = redact(text)
    return value if scrubbed == text else scrubbed.encode(errors="surrogateescape")


def _mapping(value: Mapping[Any, Any], inner: Callable[[Any], Any]) -> Mapping[Any, Any]:
    pairs = [(key, part, inner(key), inner(part)) for key, part in value.items()]
    if all(key is made_key and part is made for key, part, made_key, made in pairs):
        return value
    return {made_key: made for _, _, made_key, made in pairs}


def _sequence(value: Any, inner: Callable[[Any], Any]) -> Any:  # noqa: ANN401  one of four types
    parts = list(value)
    made = [inner(part) for part in parts]
    if all(part is other for part, other in zip(parts, made, strict=True)):
        return value
    # A named tuple, or whatever else is made in another way, becomes a plain one.
    return next(kind for kind in (list, tuple, set, frozenset) if isinstance(value, kind))(made)


def text_of(value: object, shown: Callable[[object], str] = str) -> str:
    """An object as text, also one whose own way to say so fails."""
    try:
        return shown(value)
    except Exception as fault:  # noqa: BLE001  whatever an object raises, its record is written
        return f"<{type(value).__name__} that cannot be shown: {type(fault).__name__}>"


def scrub_exception(error: BaseException) -> BaseException:
    """The exception, or where it or one that belongs to it shows a known value, one that stands in for it.

    That has the name, module, traceback and notes of its type, is no instance of it, and keeps the causes, contexts
    and members of groups. Frames are those of the original: what shows their locals shows the values in them.
    """
    family = list(_family(error))
    if not any(_shows(member) for member in family):
        return error
    twins: dict[int, BaseException] = {}
    for member in reversed(family):  # members of a group before the group
        twins[id(member)] = _twin(member, twins)
    for member in family:
        _relate(twins[id(member)], member, twins)
    return twins[id(error)]


def _family(error: BaseException) -> Iterator[BaseException]:
    waiting, seen = [error], set[int]()
    while waiting:
        member = waiting.pop()
        if id(member) in seen:
            continue
        seen.add(id(member))
        yield member
        waiting += [other for other in (member.__cause__, member.__context__) if other is not None]
        if isinstance(member, BaseExceptionGroup):
            waiting += member.exceptions


def _shows(member: BaseException) -> bool:
    texts = [text_of(member), text_of(member, repr), *_notes(member)]
    return any(redact(text) != text for text in texts)


def _notes(member: BaseException) -> list[str]:
    return [text_of(note) for note in getattr(member, "__notes__", None) or ()]


def _twin(member: BaseException, twins: Mapping[int, BaseException]) -> BaseException:
    kind = type(member)
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    if isinstance(member, BaseExceptionGroup):
        # One that is its own member, through a cause, has no twin yet.
        members = [twins.get(id(each), Exception(CYCLE)) for each in member.exceptions]
        base: Any = ExceptionGroup if all(isinstance(m, Exception) for m in members) else BaseExceptionGroup  # fmt: skip
        return type(kind.__name__, (base,), names)(redact(member.message), members)  # type: ignore[no-any-return]
    text = redact(text_of(member))
    return type(kind.__name__, (Exception,), names)(*([text] if text else []))  # type: ignore[no-any-return]


def _relate(
    twin: BaseException, member: BaseException, twins: Mapping[int, BaseException]
) -> None:
    twin.__traceback__ = member.__traceback__
    twin.__context__ = twins.get(id(member.__context__))
    twin.__cause__ = twins.get(id(member.__cause__))
    twin.__suppress_context__ = member.__suppress_context__
    for note in _notes(member):
        twin.add_note(redact(note))
