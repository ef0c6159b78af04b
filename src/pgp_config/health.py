"""What probes and callers are told: alive, ready, or unavailable for now; never a value.

Free of any framework: each function gives a status and the content of a JSON answer.

An answer holds names, kinds, states, version numbers and ages. It does not hold the causes of
failures: those name projects, paths and permissions, and a health page is often public. Causes are
in the log. Names and versions tell a stranger what was rotated when; where that matters, leave the
pages out (`health=False`), or give them a prefix that the outside cannot reach.

A state is "ok", or one of the words of the status page for which somebody should do something: "missing",
"stale", "failing" and "rejected". All but the first are ready: the last good value is served.

The pages read only what the process knows already: they open no secret and never call the source.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from pgp_config.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgp_config.cache import Landing, SecretStatus
    from pgp_config.errors import PgpConfigError
    from pgp_config.push.event import SecretEvent

_logger = logging.getLogger("pgp_config")

#: Seconds after which a caller may try again: the shortest pause of a failing secret, with its jitter.
RETRY_AFTER = 2

#: States in which a secret has a value that requests can use.
_USABLE = ("ok", "stale")


@runtime_checkable
class Container(Protocol):
    """What adapters need of a container: an instance of a `SecretContainer` has it."""

    def load(self) -> None:
        """Fetch every secret that is not known yet."""
        ...

    async def aload(self) -> None:
        """As `load`, from a coroutine."""
        ...

    def close(self) -> None:
        """End the container."""
        ...

    def status(self) -> list[SecretStatus]:
        """The state of each secret."""
        ...

    def announce(self, event: SecretEvent) -> Landing:
        """Hear of a push."""
        ...


class Answer(NamedTuple):
    """An HTTP answer in JSON.

    Attributes:
        status: The HTTP status, 200 or 503.
        content: What becomes the JSON object.
    """

    status: int
    content: dict[str, object]

    @property
    def headers(self) -> dict[str, str]:
        """Besides the content's type and length: not cached; with a 503, when to try again."""
        again = {"Retry-After": str(RETRY_AFTER)} if self.status != HTTPStatus.OK else {}
        return {"Cache-Control": "no-store", **again}


class Paths(NamedTuple):
    """Where the pages are.

    Attributes:
        prefix: What comes before both, or an empty text.
        liveness: The whole path of the liveness page.
        readiness: The whole path of the readiness page.
    """

    prefix: str
    liveness: str
    readiness: str


def paths_of(health: bool | str) -> Paths | None:
    """Where an adapter's `health=` puts the pages.

    Args:
        health: True for `/healthz` and `/readyz`, a prefix such as `"/internal"`, or False for none.

    Raises:
        DeclarationError: If it is none of these.
    """
    if health is False:
        return None
    if health is not True and not _is_prefix(health):
        raise DeclarationError(
            f"health={health!r} says no place for the health pages",
            remedy="Give True, False, or a prefix such as '/internal'.",
        )
    prefix = "" if health is True else health
    return Paths(prefix, f"{prefix}/healthz", f"{prefix}/readyz")


def _paths_of_push(push: object) -> list[str]:
    """Where an adapter's `push=` answers: a path for an endpoint, none for a listener."""
    path = getattr(push, "path", None)
    if push is not None and path is None and not hasattr(push, "start"):
        raise DeclarationError(
            f"push= was given a {type(push).__name__}",
            remedy="Give a PushEndpoint or a PubSubListener.",
        )
    return [] if path is None else [path]


def _paths_of_status(status: object) -> list[str]:
    """Where an adapter's `status=` answers."""
    paths = [] if status is None else getattr(status, "paths", None)
    if not isinstance(paths, list):
        raise DeclarationError(
            f"status= was given a {type(status).__name__}",
            remedy="Give a StatusPage(auth=…).",
        )
    return paths


def refuse_taken(
    paths: Paths | None, used: Iterable[object], *, push: object = None, status: object = None
) -> None:
    """Check that nothing else is where the health pages, a push endpoint and a status page are to be.

    Raises:
        DeclarationError: If something is, or if the push or the status page is none.
    """
    taken = set(used)
    for path in (*(paths or ())[1:], *_paths_of_push(push), *_paths_of_status(status)):
        if path in taken:
            raise DeclarationError(
                f"the application has a page at {path} already",
                remedy="Give the health pages another place, health='/internal', or health=False; a "
                "PushEndpoint or a StatusPage another path.",
            )
        taken.add(path)


def _is_prefix(health: object) -> bool:
    return isinstance(health, str) and health.startswith("/") and not health.endswith("/")


def liveness(container: Container) -> Answer:
    """The content of `/healthz`: always 200, for the process serves."""
    return Answer(HTTPStatus.OK, {"status": "alive", "secrets": _rows(container.status())})


def readiness(container: Container) -> Answer:
    """The content of `/readyz`: 200 if every secret was loaded and can be used, else 503."""
    secrets = container.status()
    ready = all(secret.state in _USABLE for secret in secrets)
    status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    return Answer(status, {"status": "ready" if ready else "not ready", "secrets": _rows(secrets)})


def _rows(secrets: list[SecretStatus]) -> list[dict[str, object]]:
    return [
        {
            "name": secret.name,
            "kind": secret.kind,
            "state": condition_of(secret),
            "version": secret.version,
            "age_seconds": None if secret.age is None else round(secret.age, 3),
        }
        for secret in secrets
    ]


def condition_of(secret: SecretStatus) -> str:
    """The states in which somebody should do something, as the status page calls them; else "ok".

    - "missing": there is no usable value; reads fail. The only one that is not ready.
    - "stale": the source does not answer, and the last good value is served past `max_age`.
    - "failing": the source does not answer, and the value is still within `max_age`.
    - "rejected": a newer version may not be served; the last good one is.
    """
    if secret.state == "missing" or secret.age is None:
        return "missing"
    if secret.state == "stale":
        return "stale" if secret.age > secret.max_age else "failing"
    return "rejected" if secret.rejected else "ok"


def unavailable(error: PgpConfigError) -> Answer:
    """The answer to a caller whose request found no usable secret; the cause goes to the log only."""
    _logger.error("Answered 503 Service Unavailable: %s (%s)", error, error.explained_by)
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "temporarily unavailable"})


def refuse_non_container(container: object) -> None:
    """Check what an adapter was given, when it is given.

    Raises:
        DeclarationError: If it is not an instance of a `SecretContainer`.
    """
    if isinstance(container, type):
        raise DeclarationError(
            f"the class {container.__name__} was given in place of a container",
            remedy=f"Give an instance: {container.__name__}(source=…).",
        )
    if not isinstance(container, Container):
        raise DeclarationError(
            f"a {type(container).__name__} was given in place of a container",
            remedy="Give an instance of a SecretContainer.",
        )
