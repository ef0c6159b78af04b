"""What Secret Manager publishes when a secret changes, read from what Pub/Sub brings.

Nothing but names and a number is taken from a message: the version is then fetched from the source, and
validated as any other. The message's data is not looked into; it repeats the metadata.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from pgp_config.errors import PgpConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgp_config.cache import Landing

#: Bytes of a push: the metadata of a secret (16 KiB of annotations, 64 labels, 50 aliases) in base64.
MAX_BODY = 128 * 1024

#: A higher version may be there to be served.
_COMING = frozenset({"SECRET_VERSION_ADD", "SECRET_VERSION_ENABLE"})

#: A version may be served no more. One whose destruction is scheduled is disabled at once.
_GOING = frozenset(
    {
        "SECRET_VERSION_DISABLE",
        "SECRET_VERSION_DESTROY",
        "SECRET_VERSION_DESTROY_SCHEDULED",
    }
)

_DELETED = "SECRET_DELETE"

_KIND = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_RESOURCE = re.compile(
    r"projects/(?P<project>[A-Za-z0-9.:_-]{1,100})(?:/locations/(?P<location>[a-z0-9-]{1,63}))?"
    r"/secrets/(?P<secret>[A-Za-z0-9_-]{1,255})"
)
#: Ten digits: a number with more would be refused as a name, and so count as a failure of the source.
_VERSION = re.compile(r"/versions/(?P<number>[1-9][0-9]{0,9})")

#: Headers of an unwrapped push, in which Pub/Sub writes the attributes as they are named.
_ATTRIBUTES = ("eventType", "secretId", "versionId")


class PushRefused(PgpConfigError):  # noqa: N818  as the other public names
    """A push is not taken: it is nonsense, too large, or not proved to be from Google.

    Attributes:
        status: The HTTP status that says so.
    """

    explained_as: ClassVar[str] = "PushRefused"
    status: ClassVar[int] = 400


class TooLarge(PushRefused):
    """The body is larger than any that Secret Manager publishes."""

    status = 413


class Announcements(Protocol):
    """Who is told; a `Cache`."""

    def owns(self, project: str, location: str | None) -> bool:
        """Whether the source may have secrets there."""
        ...

    def announce(self, name: str, version: int, kind: str) -> Landing:
        """A version exists."""
        ...

    def withdraw(self, name: str, version: int | None, kind: str) -> Landing:
        """A version may be served no more."""
        ...

    def nothing(self) -> Landing:
        """What an event sets off that concerns nobody."""
        ...


@dataclass(frozen=True, slots=True)
class SecretEvent:
    """One change of one secret, as Secret Manager publishes it.

    Attributes:
        kind: Secret Manager's word for it, such as "SECRET_VERSION_ADD"; there may be new ones.
        secret: The secret's short name, or "" where the event concerns none that is known here.
        version: The version's number, 1 or more, or None.
        project: The id or the number of the secret's project.
        location: The location of a regional secret.
    """

    kind: str
    secret: str = ""
    version: int | None = None
    project: str = ""
    location: str | None = None

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, str]) -> SecretEvent:
        """Read the attributes of a Pub/Sub message.

        Kinds that change nothing for a reader, and kinds that are not known yet, are taken as they are.

        Raises:
            PushRefused: If they are not those of an event of Secret Manager.
        """
        kind = attributes.get("eventType")
        if not isinstance(kind, str) or not _KIND.fullmatch(kind):
            raise _nonsense("has no eventType of Secret Manager")
        if kind not in _COMING | _GOING | {_DELETED}:
            return cls(kind)
        resource = attributes.get("secretId")
        named = _RESOURCE.fullmatch(resource) if isinstance(resource, str) else None
        if named is None:
            raise _nonsense("has no secretId that is a resource name")
        version = (
            None if kind == _DELETED else _version(attributes.get("versionId"), named.group())
        )
        return cls(kind, named["secret"], version, named["project"], named["location"])

    @classmethod
    def from_push(cls, headers: Mapping[str, str], body: bytes) -> SecretEvent:
        """Read the request of a push subscription, wrapped (as by default) or not.

        Args:
            headers: The request's headers, by name in lower case.
            body: The request's body.

        Raises:
            PushRefused: If it is not a Pub/Sub message, or not one of Secret Manager.
        """
        if len(body) > MAX_BODY:
            raise too_large()
        names = {name: headers[name.lower()] for name in _ATTRIBUTES if name.lower() in headers}
        return cls.from_attributes(names or _unwrapped(body))

    def tell(self, cache: Announcements) -> Landing:
        """Tell a cache, if the event may be about one of its secrets."""
        if not self.secret or not cache.owns(self.project, self.location):
            return cache.nothing()
        if self.kind in _COMING and self.version is not None:
            return cache.announce(self.secret, self.version, self.kind)
        return cache.withdraw(self.secret, self.version, self.kind)


def _version(resource: object, secret: str) -> int:
    if isinstance(resource, str) and resource.startswith(secret):
        numbered = _VERSION.fullmatch(resource, len(secret))
        if numbered is not None:
            return int(numbered["number"])
    raise _nonsense("has no versionId that is a version of its secretId")


def _unwrapped(body: bytes) -> Mapping[str, str]:
    """The attributes in a wrapped message."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None  # not raised from here: the error's text would show the body
    message = content.get("message") if isinstance(content, dict) else None
    if not isinstance(message, dict) or not isinstance(message.get("attributes"), dict):
        raise _nonsense("is not a Pub/Sub message with attributes")
    attributes: Mapping[str, str] = message["attributes"]
    if not _is_base64(message.get("data", "")):
        raise _nonsense("has data that is not in base64")
    return attributes


def _is_base64(data: object) -> bool:
    if not isinstance(data, str):
        return False
    try:
        base64.b64decode(data, validate=True)
    except ValueError:
        return False
    return True


def _nonsense(what: str) -> PushRefused:
    return PushRefused(
        f"a push {what}",
        remedy="Let only Secret Manager publish to the topic. A push subscription without wrapping has "
        "to write metadata (--push-no-wrapper-write-metadata).",
    )


def too_large() -> TooLarge:
    """The refusal of a body that is too large."""
    return TooLarge(
        f"a push has more than {MAX_BODY} bytes",
        remedy="Let only Secret Manager publish to the topic.",
    )
