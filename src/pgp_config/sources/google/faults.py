"""What Google's libraries raise, as a status of gRPC's, and that as an error of ours: one table for all transports."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from pgp_config.errors import (
    ChangedMeanwhile,
    PgpConfigError,
    SecretDisabled,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
    SourceTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Statuses after which the same request may succeed (design: promise 8).
TRANSIENT = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED"})

#: gRPC's statuses of HTTP's, where an answer over REST, or Google's exception for it, has none.
STATUS_OF_HTTP = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

#: What gRPC says when Google's credentials fail to make a token, and what they say when it is for good.
_TOKEN_FAILED = "Getting metadata from plugin failed"  # noqa: S105  no password
_TOKEN_REFUSED = re.compile(
    r"invalid_grant|invalid_client|invalid_rapt|unauthorized_client|[Rr]eauth|expired|revoked"
)

SIGN_IN = (
    "Run `gcloud auth application-default login`, or give the service an account of its own: on "
    "Google Cloud its service account, elsewhere GOOGLE_APPLICATION_CREDENTIALS."
)

_GRANT = (
    "Grant roles/secretmanager.secretAccessor on that secret to the service account; or enable the "
    "Secret Manager API, if the cause says SERVICE_DISABLED."
)

_LOOK = "Look at status.cloud.google.com and at the network on the way there."

#: In place of `_LOOK` where an endpoint was given: Google has no part in it.
_LOOK_AT_ENDPOINT = "Look whether the local Secret Manager runs at {endpoint}: start it (`pgp-config emulator`), or correct the endpoint."

#: The number in what Secret Manager says of a version that is disabled or destroyed.
_NUMBER = re.compile(r"/versions/([0-9]+)\]? is in [A-Z]+ state")


class StatusFault(Exception):  # noqa: N818  it is the cause of an error, told by status
    """An answer over REST that is not OK, or none.

    Attributes:
        status: gRPC's name of the status, such as "NOT_FOUND", or "HTTP 302" where it has none.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class _Meaning(NamedTuple):
    kind: type[PgpConfigError]
    happened: str
    remedy: str


_MEANINGS = {
    "NOT_FOUND": _Meaning(
        SecretNotFound,
        "does not exist in {where}, or has {none}",
        "Create it or add the version; or correct the project, the location or the name.",
    ),
    "PERMISSION_DENIED": _Meaning(
        SecretForbidden,
        "this identity may not read it in {where} (or it may not exist)",
        _GRANT,
    ),
    "UNAUTHENTICATED": _Meaning(
        SecretForbidden,
        "Google does not accept the credentials: they are missing, expired or revoked",
        SIGN_IN,
    ),
    "FAILED_PRECONDITION": _Meaning(
        SecretDisabled,
        "{which} is disabled or destroyed in {where}",
        "Enable that version, or add a new one.",
    ),
    "INVALID_ARGUMENT": _Meaning(
        SecretUnavailable,
        "Secret Manager calls the request invalid ({where}, {which})",
        "Correct the project, the location or the secret's name.",
    ),
    "DEADLINE_EXCEEDED": _Meaning(
        SourceTimeout,
        "Secret Manager did not answer within {total:g} s ({where})",
        "{look}",
    ),
    "RESOURCE_EXHAUSTED": _Meaning(
        SecretUnavailable,
        "the quota of Secret Manager is exhausted in {where}",
        "Raise max_age, or ask Google for more than the 90,000 accesses a minute and project.",
    ),
}

_CHANGED = _Meaning(
    ChangedMeanwhile,
    "could not {doing} in {where}: it is not as it was when it was looked at",
    "Somebody else changed it: look what was done (its audit log says by whom), and run the command again.",
)

#: What differs where something is changed, listed or asked about.
_MEANINGS_OF_CHANGES = {
    "NOT_FOUND": _Meaning(
        SecretNotFound,
        "does not exist in {where}",
        "Create it: `gcloud secrets create`; or correct the project, the location or the name.",
    ),
    "PERMISSION_DENIED": _Meaning(
        SecretForbidden,
        "this identity may not {doing} in {where} (or it may not exist)",
        "Grant roles/secretmanager.admin on that secret to whoever rotates it.",
    ),
    "FAILED_PRECONDITION": _CHANGED,
    "ABORTED": _CHANGED,
    "INVALID_ARGUMENT": _Meaning(
        SecretUnavailable,
        "Secret Manager calls the request to {doing} invalid ({where})",
        "A value has 64 KiB at most; correct the project, the location or the secret's name.",
    ),
    "DEADLINE_EXCEEDED": _Meaning(
        SourceTimeout,
        "Secret Manager did not answer within {total:g} s when asked to {doing} ({where})",
        "It may have been done all the same: run the command again, it looks first.",
    ),
    "RESOURCE_EXHAUSTED": _Meaning(
        SecretUnavailable,
        "the quota of Secret Manager is exhausted in {where}",
        "Wait a minute: 600 look-ups and changes a minute and project are allowed.",
    ),
}

_OTHER = _Meaning(
    SecretUnavailable, "Secret Manager could not answer for {where} ({status})", "{look}"
)


def may_pass(fault: BaseException) -> bool:
    """Whether the same request may succeed after this fault."""
    return _status_of(fault) in TRANSIENT


def explained(
    fault: Exception, *, where: str, version: int | str, total: float, endpoint: str | None
) -> PgpConfigError:
    """An error of ours for one of Google's, with that as its cause.

    Args:
        fault: Whatever was raised.
        where: The project and the location, in words.
        version: What was asked for.
        total: The seconds that the fetch had.
        endpoint: The local Secret Manager that was asked; None for Google's.
    """
    facts = {
        "which": _which(fault, version),
        "none": "no version" if version == "latest" else f"no version {version}",
    }
    return _told(fault, _MEANINGS, {**facts, "where": where, "total": total, "endpoint": endpoint})


def _which(fault: Exception, version: int | str) -> str:
    """The version that was asked for, in words; of the newest the number, if the fault tells it."""
    if version != "latest":
        return f"version {version}"
    found = _NUMBER.search(str(fault))
    return f"the newest version, {found[1]}," if found else "the newest version"


def explained_change(
    fault: Exception, *, where: str, doing: str, total: float, endpoint: str | None
) -> PgpConfigError:
    """As `explained`, for calls that change, list or ask.

    Args:
        fault: Whatever was raised.
        where: The project and the location, in words.
        doing: What was asked for, in words: "add a version to it".
        total: The seconds that the call had.
        endpoint: The local Secret Manager that was asked; None for Google's.
    """
    meanings = {**_MEANINGS, **_MEANINGS_OF_CHANGES}
    facts = {"where": where, "doing": doing, "total": total, "endpoint": endpoint}
    return _told(fault, meanings, facts)


def _told(
    fault: Exception, meanings: Mapping[str, _Meaning], facts: Mapping[str, object]
) -> PgpConfigError:
    error = _of_credentials(fault)
    if error is None:
        status = _status_of(fault)
        kind, happened, remedy = meanings.get(status, _OTHER)
        endpoint = facts["endpoint"]
        look = _LOOK_AT_ENDPOINT.format(endpoint=endpoint) if endpoint else _LOOK
        words = {**facts, "status": status, "look": look}
        error = kind(happened.format_map(words), remedy=remedy.format_map(words))
    error.__cause__ = bare(fault)
    return error


def bare(fault: BaseException) -> BaseException:
    """A cause that may be logged: its kind and text. Its frames and its arguments can hold a token."""
    message = getattr(fault, "message", None)
    if getattr(fault, "response", None) is not None and isinstance(message, str):
        fault = type(fault)(message)
    if _is_of_google_auth(fault, "GoogleAuthError"):
        # The first argument says what happened, or is the exception of requests, with the request.
        fault.args = tuple(map(str, fault.args[:1]))
    fault.__cause__ = fault.__context__ = None
    return fault.with_traceback(None)


def _of_credentials(fault: Exception) -> PgpConfigError | None:
    """The error for credentials that are missing, refused or cannot be checked; None for all else."""
    if _is_of_google_auth(fault, "DefaultCredentialsError"):
        return SecretForbidden("no Google credentials were found", remedy=SIGN_IN)
    is_failure = _is_token_out_of_reach(fault)
    is_refusal = not is_failure and _is_of_google_auth(fault, "RefreshError")
    if _TOKEN_FAILED in str(fault):
        is_failure, is_refusal = True, _TOKEN_REFUSED.search(str(fault)) is not None
    if is_refusal:
        return SecretForbidden(
            "Google refused the credentials: they are expired, revoked or deleted", remedy=SIGN_IN
        )
    if is_failure:
        return SecretUnavailable(
            "Google's token server could not be reached to refresh the credentials", remedy=_LOOK
        )
    return None


def _is_token_out_of_reach(fault: BaseException) -> bool:
    """Whether no token could be had, while the credentials may be good.

    Credentials of a metadata server wrap an error of the transport in one that says "refused".
    """
    if _is_of_google_auth(fault, "TransportError"):
        return True
    if not _is_of_google_auth(fault, "RefreshError"):
        return False
    inner = fault.args[0] if fault.args else None
    return bool(fault.retryable) or _is_of_google_auth(inner, "TransportError")  # type: ignore[attr-defined]  # it has one


def _is_of_google_auth(fault: object, kind: str) -> bool:
    # Whoever raised one has imported it; a fault may come from google-auth not being installed.
    exceptions: Any = sys.modules.get("google.auth.exceptions")
    return exceptions is not None and isinstance(fault, getattr(exceptions, kind))


def _status_of(fault: BaseException) -> str:
    """The name of gRPC's status, or of the exception where it has none."""
    if isinstance(fault, StatusFault):
        return fault.status
    if _is_token_out_of_reach(fault):
        return "UNAVAILABLE"
    status = getattr(fault, "grpc_status_code", None)
    if status is not None:
        return str(status.name)
    code = getattr(fault, "code", None)
    if code == 400 and re.search("DISABLED|DESTROYED", str(fault)):  # noqa: PLR2004  HTTP's number
        return "FAILED_PRECONDITION"
    return STATUS_OF_HTTP.get(code or 0, type(fault).__name__)
