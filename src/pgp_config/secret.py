"""From a payload's bytes to a typed value: checksum, UTF-8, newline, type, no key material.

The first declaration of a secret imports this, and pydantic's machinery with it: 30 ms that an import of
`pgp_config` does without.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NoReturn,
    TypeVar,
    cast,
    get_args,
    get_origin,
)
from urllib.parse import unquote

from pydantic import (
    AnyUrl,
    BaseModel,
    MongoDsn,
    NatsDsn,
    PostgresDsn,
    Secret,
    SecretBytes,
    SecretStr,
    TypeAdapter,
    ValidationError,
)
from pydantic.errors import PydanticUserError
from pydantic_core import MultiHostUrl, Url

from pgp_config.errors import DeclarationError, RejectedVersion
from pgp_config.payload import DamagedVersion, Payload

T = TypeVar("T")

#: RFC 7468 labels and OpenSSH's own, as `openssl` and `ssh-keygen` write them.
_PEM_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")

#: What a URL is an instance of. Before pydantic 2.10 its own names are annotations of the core's.
_URLS = tuple(
    kind
    for kind in cast(
        "tuple[Any, ...]", (Url, MultiHostUrl, AnyUrl, PostgresDsn, MongoDsn, NatsDsn)
    )
    if isinstance(kind, type)
)

#: The kinds of pydantic-core schema that hold more than one value.
_JSON_SCHEMAS = {"model", "dataclass", "typed-dict", "list", "dict", "tuple", "set", "frozenset"}


class SealedStr(SecretStr):
    """A `SecretStr` that cannot be pickled: a cache or a task queue would store the value."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret value is not pickled: pass its provider or its name instead.")

    def __copy__(self) -> SealedStr:
        return self

    def __deepcopy__(self, _memo: object) -> SealedStr:
        return self


class Decoder(Generic[T]):
    """Turns the bytes of a version into a value of the declared type.

    Args:
        declared: `SecretStr`, `SecretBytes` or `bytes` (taken as they are), any type that pydantic
            validates from a string (URL, Decimal, bool, enum, Annotated …), or one that it reads
            from JSON (model, dataclass, TypedDict, list, dict).

    Attributes:
        is_binary: Whether the bytes are taken as they are.

    Raises:
        DeclarationError: If pydantic does not know the type.
    """

    def __init__(self, declared: type[T]) -> None:
        self.declared = declared
        self.is_binary = declared in (bytes, SecretBytes)
        if isinstance(declared, str | bytes | int | float):
            # Not quoted: it may be a value given by mistake.
            raise DeclarationError(
                f"its type is given as a value ({type(declared).__name__})",
                remedy="Give the type itself: Decimal, and not 'Decimal'; values are in the source.",
            )
        try:
            self._adapter: TypeAdapter[T] = TypeAdapter(declared)
            self._json = _reads_json(
                self._adapter.core_schema
            )  # of what names a type in text there is none
        except (PydanticUserError, AttributeError) as fault:
            # The latter of what is no type at all.
            reason = getattr(fault, "code", None) or type(fault).__name__
            raise DeclarationError(
                f"pydantic does not know the type {declared!r} ({reason})",
                remedy="Declare a type that pydantic validates: HttpUrl, Decimal, a model …",
            ) from fault

    @property
    def type_name(self) -> str:
        """The declared type for people."""
        return type_name(self.declared)

    def decode(self, payload: Payload, *, refuse_private_keys: bool = False) -> T:
        """Validate a payload as the declared type.

        Args:
            payload: What the source sent.
            refuse_private_keys: Refuse private-key material, whatever the type says.

        Raises:
            RejectedVersion: With the reason (`DamagedVersion` for the checksum), and without a trace of the value: no cause, and no
                frame whose locals hold it.
        """
        if _is_damaged(payload):
            raise DamagedVersion(
                f"version {payload.version} does not match its crc32c checksum",
                remedy="It was damaged on its way, and is asked for again; if that goes on, add a "
                "new version.",
            )
        value, reason = self._attempt(payload, refuse_private_keys=refuse_private_keys)
        if reason is not None:
            raise RejectedVersion(
                f"version {payload.version} {reason}",
                remedy="Add a good version; this one is not fetched again.",
            )
        return cast("T", value)

    def given(self, value: object) -> T:
        """A test's value as the declared type: text is decoded as a payload's, the rest validated.

        Raises:
            RejectedVersion: If the value does not fit; its text does not hold the value.
        """
        content = value.encode() if isinstance(value, str) else value
        if isinstance(content, bytes):
            made, reason = self._attempt(Payload(content, 0), refuse_private_keys=False)
        else:
            made, reason = self._validated(self._adapter.validate_python, content)
        del value, content
        if reason is not None:
            raise RejectedVersion(
                f"the value given {reason}",
                remedy=f"Give a value of the declared type, {self.type_name}.",
            )
        return cast("T", made)

    def texts_of(self, value: T, *, plain: bool = False) -> Iterator[str]:
        """Every text in a decoded value that no log line may show; see `confidential_texts`."""
        return confidential_texts(value, plain=plain)

    def _attempt(
        self, payload: Payload, *, refuse_private_keys: bool
    ) -> tuple[T | None, str | None]:
        """The value, or the reason why there is none. Nothing raises while a local holds it."""
        data = payload.data
        if refuse_private_keys and holds_private_key(data):
            return None, "is private-key material under a dynamic name"
        if self.is_binary:
            return self._validate(data) if data else (None, "is empty")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return None, "is not UTF-8"
        text = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
        return self._validate(text) if text.strip() else (None, "is empty")

    def _validate(self, content: str | bytes) -> tuple[T | None, str | None]:
        if isinstance(content, bytes):
            return self._validated(self._adapter.validate_python, content)
        if self._json:
            return self._validated(self._adapter.validate_json, content)
        return self._validated(self._adapter.validate_strings, content)

    def _validated(
        self, validate: Callable[[Any], T], content: object
    ) -> tuple[T | None, str | None]:
        try:
            value = validate(content)
        except ValidationError as fault:
            return None, _explain(fault, self.declared)
        except Exception as fault:  # noqa: BLE001  a custom validator may raise anything, with the value in it
            return None, f"fails its type ({type(fault).__name__})"
        return _sealed(value), None


def _is_damaged(payload: Payload) -> bool:
    return payload.crc32c is not None and payload.mark != payload.crc32c


def holds_private_key(data: bytes) -> bool:
    """Whether the bytes are a PEM or OpenSSH private key or a JSON service-account key."""
    if _PEM_PRIVATE_KEY.search(data):
        return True
    if not data.lstrip().startswith(b"{"):
        return False
    try:
        document = json.loads(data)
    except ValueError:
        return False
    return document.get("type") == "service_account" or "private_key" in document


def confidential_texts(value: object, *, plain: bool = False) -> Iterator[str]:
    """Every text in a value that no log line may show: what `SecretStr` and bytes hold, and a URL's password.

    Bytes that are no UTF-8 are lone surrogates in it, as in file names.

    Args:
        value: Of any type.
        plain: Whether texts of the type `str` are confidential too, as the value's name says.
    """
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, SecretBytes):
        yield from confidential_texts(value.get_secret_value())
    elif isinstance(value, bytes):
        yield value.decode(errors="surrogateescape")
    elif isinstance(value, Secret):
        held = value.get_secret_value()
        yield from [str(held)] if isinstance(held, _URLS) else []
        yield from confidential_texts(held, plain=True)
    elif isinstance(value, _URLS):
        yield from _texts_of_url(value)
    elif isinstance(value, str):
        # What an enum allows stands in the source.
        yield from [value] if plain and not isinstance(value, Enum) else []
    else:
        for part in _parts(value):
            yield from confidential_texts(part, plain=plain)


def _texts_of_url(url: Any) -> Iterator[str]:  # noqa: ANN401  pydantic's URLs have no base in common
    """The whole of a URL that holds a password, and the password as it stands there and as it is meant."""
    hosts = url.hosts() if hasattr(url, "hosts") else [{"password": url.password}]
    passwords = [host["password"] for host in hosts if host["password"]]
    if passwords:
        yield str(url)
    for password in passwords:
        yield from dict.fromkeys((password, unquote(password, errors="surrogateescape")))


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, BaseModel):
        return [part for _, part in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, part.name) for part in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple | set | frozenset) else ()


def _sealed(value: Any) -> Any:  # noqa: ANN401  any declared type
    return SealedStr(value.get_secret_value()) if type(value) is SecretStr else value


def _reads_json(schema: Mapping[str, Any]) -> bool:
    while "schema" in schema and schema["type"] not in _JSON_SCHEMAS:
        schema = schema["schema"]
    return schema["type"] in _JSON_SCHEMAS


def type_name(declared: Any) -> str:  # noqa: ANN401  any type
    """A type as people write it, such as `SecretStr`; of an Annotated one what it annotates."""
    origin, parts = get_origin(declared), get_args(declared)
    if origin is Annotated:
        return type_name(parts[0])
    if origin is Literal:  # what it allows may be all that there is to know
        return "Literal"
    if origin is not None and parts:
        return f"{type_name(origin)}[{', '.join(type_name(part) for part in parts)}]"
    return getattr(declared, "__name__", None) or str(declared)


def _explain(fault: ValidationError, declared: Any) -> str:  # noqa: ANN401  any type
    """The codes and fields of a validation error; its messages and inputs may hold the value."""
    # Pydantic's title of a type with validators lists them, with their addresses.
    title = fault.title if fault.title.isidentifier() else type_name(declared)
    codes = sorted(
        {error["type"] for error in fault.errors(include_input=False, include_url=False)}
    )
    return f"is not a valid {title} ({', '.join(codes)})"
