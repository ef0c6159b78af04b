"""The new value: read or generated, checked against the declared types, and never shown."""

from __future__ import annotations

import base64
import re
import secrets
import string
from typing import TYPE_CHECKING, NoReturn, Protocol

from pydantic import SecretBytes, SecretStr

from pgp_config.errors import DeclarationError, RejectedVersion
from pgp_config.payload import Payload
from pgp_config.policy import ReloadPolicy
from pgp_config.rotation.errors import RotationStopped
from pgp_config.secret import Decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Bytes of a value at most, in Secret Manager.
MOST_BYTES = 64 * 1024

#: What a generator may be asked for: bytes of randomness, or characters.
LEAST_SIZE, MOST_SIZE = 16, 4096

_CHARACTERS = string.ascii_letters + string.digits


class Value:
    """A value on its way to the store; shown nowhere."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __repr__(self) -> str:
        return "<a value>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret value is not pickled or copied.")

    def is_in(self, payload: Payload) -> bool:
        """Whether a version holds it, but for a line break at the end."""
        return secrets.compare_digest(_trimmed(self.data), _trimmed(payload.data))


class Declaration(Protocol):
    """What a container says of a secret."""

    @property
    def name(self) -> str:
        """Its name in the source."""
        ...

    @property
    def is_dynamic(self) -> bool:
        """Whether services reload it."""
        ...

    @property
    def has_overlap(self) -> bool:
        """Whether services go on using the old version beside the new one, for a grace."""
        ...

    def check(self, payload: Payload) -> None:
        """Refuse what may not be served.

        Raises:
            RejectedVersion: With the reason; without a trace of the value.
        """
        ...

    @property
    def is_binary(self) -> bool:
        """Whether the bytes are taken as they are."""
        ...


class Undeclared:
    """A secret of which no container is known: text, or what `--type` says.

    Args:
        name: Its name; one that the default `ReloadPolicy` protects is static.
        declared: Its type.
    """

    def __init__(self, name: str, declared: type[object] = SecretStr) -> None:
        self.name = name
        self.is_dynamic = ReloadPolicy().fault_of(name) is None
        self.is_binary = declared in (bytes, SecretBytes)
        self.has_overlap = False
        self._decoder = Decoder(declared)

    def check(self, payload: Payload) -> None:
        """As `Declaration.check`."""
        self._decoder.decode(payload, refuse_private_keys=self.is_dynamic)


def as_stored(data: bytes, declarations: Sequence[Declaration]) -> Value:
    """The value as it is stored: without the line break that `echo` adds, unless bytes are taken as they are."""
    binary = any(each.is_binary for each in declarations)
    return Value(data if binary else _trimmed(data))


def refuse(value: Value, version: int, declarations: Sequence[Declaration]) -> None:
    """Refuse a value that one of the declared types refuses.

    Args:
        value: What is to be added.
        version: The number that it would get.
        declarations: All that are known of the secret.

    Raises:
        RotationStopped: With every reason, and without a trace of the value.
    """
    reasons = []
    if len(value.data) > MOST_BYTES:
        reasons.append(f"it has more than {MOST_BYTES} bytes")
    for each in declarations:
        try:
            each.check(Payload(value.data, version))
        except RejectedVersion as fault:
            # It speaks of a version, and none was added.
            reasons.append(re.sub(rf"\bversion {version}\b", "it", fault.happened))
    if reasons:
        raise RotationStopped(
            f"the new value is refused, and was not added: {'; '.join(sorted(set(reasons)))}",
            remedy="Give a value of the declared type.",
        )


def _trimmed(data: bytes) -> bytes:
    return data.removesuffix(b"\n").removesuffix(b"\r") if data.endswith(b"\n") else data


# -- generators --------------------------------------------------------------------------------


def _alphanumeric(size: int) -> str:
    return "".join(secrets.choice(_CHARACTERS) for _ in range(size))


_GENERATORS: dict[str, Callable[[int], str]] = {
    "hex": secrets.token_hex,
    "urlsafe": secrets.token_urlsafe,
    "base64": lambda size: base64.b64encode(secrets.token_bytes(size)).decode(),
    "alphanumeric": _alphanumeric,
}


def generate(recipe: str) -> Value:
    """Make a value.

    Args:
        recipe: `hex:BYTES`, `urlsafe:BYTES`, `base64:BYTES` (of randomness, from the operating system),
            `alphanumeric:CHARACTERS`, each 16 to 4096, or `fernet` (a key of cryptography's Fernet).

    Raises:
        DeclarationError: If there is no such generator.
    """
    if recipe == "fernet":
        return Value(base64.urlsafe_b64encode(secrets.token_bytes(32)))
    match = re.fullmatch(r"([a-z0-9]+):([0-9]{1,5})", recipe)
    make = _GENERATORS.get(match[1]) if match else None
    if match is None or make is None or not LEAST_SIZE <= int(match[2]) <= MOST_SIZE:
        raise DeclarationError(
            "there is no such generator",  # not quoted: it may be a value that was given by mistake
            remedy=f"Write one of {', '.join(f'{name}:32' for name in _GENERATORS)}, with "
            f"{LEAST_SIZE} to {MOST_SIZE}, or fernet.",
        )
    return Value(make(int(match[2])).encode())
