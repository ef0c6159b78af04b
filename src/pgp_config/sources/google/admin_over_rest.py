"""Changes over REST, with the session that accesses versions."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from pgp_config.sources.administration import SecretFacts, VersionFacts
from pgp_config.sources.google.faults import StatusFault
from pgp_config.sources.google.roles import grants_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pgp_config.sources.administration import Grant
    from pgp_config.sources.google.over_rest import RestClient

T = TypeVar("T")


class AdminOverRest:
    """See `AdminClient`; raises `StatusFault` and the errors of google-auth.

    Args:
        rest: Sends the requests.
    """

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    def describe(self, path: str, timeout: float) -> SecretFacts:
        """GetSecret."""
        return self._call(_secret_of, timeout, "GET", path)

    def versions(self, path: str, size: int, timeout: float) -> list[VersionFacts]:
        """ListSecretVersions, one page."""
        return self._call(_versions_of, timeout, "GET", f"{path}/versions?pageSize={size}")

    def add(self, path: str, data: bytes, crc32c: int, timeout: float) -> int:
        """AddSecretVersion."""
        # A 64-bit number is a text in the JSON of protobuf.
        payload = {"data": base64.b64encode(data).decode(), "dataCrc32c": str(crc32c)}
        body = {"payload": payload}
        return self._call(_number_of, timeout, "POST", f"{path}:addVersion", body)

    def switch(self, path: str, verb: str, etag: str, timeout: float) -> None:
        """EnableSecretVersion or DisableSecretVersion."""
        self._call(_number_of, timeout, "POST", f"{path}:{verb}", {"etag": etag})

    def annotate(
        self, path: str, annotations: Mapping[str, str], etag: str, timeout: float
    ) -> None:
        """UpdateSecret of the annotations."""
        body = {"annotations": dict(annotations), "etag": etag}
        self._call(_secret_of, timeout, "PATCH", f"{path}?updateMask=annotations", body)

    def allowed(self, path: str, permissions: Sequence[str], timeout: float) -> list[str]:
        """TestIamPermissions."""
        body = {"permissions": list(permissions)}
        return self._call(_allowed_of, timeout, "POST", f"{path}:testIamPermissions", body)

    def names(self, parent: str, size: int, token: str, timeout: float) -> tuple[list[str], str]:
        """ListSecrets, one page."""
        page = f"&pageToken={quote(token, safe='')}" if token else ""
        return self._call(_names_of, timeout, "GET", f"{parent}/secrets?pageSize={size}{page}")

    def grants(self, path: str, timeout: float) -> list[Grant]:
        """GetIamPolicy of a secret."""
        asked = f"{path}:getIamPolicy?options.requestedPolicyVersion=3"
        return self._call(_grants_of, timeout, "GET", asked)

    def grants_of_project(self, path: str, timeout: float) -> list[Grant]:
        """GetIamPolicy of a project."""
        body = {"options": {"requestedPolicyVersion": 3}}
        return self._call(
            _grants_of, timeout, "POST", f"{path}:getIamPolicy", body, of_project=True
        )

    def _call(
        self,
        read: Callable[[Any], T],
        timeout: float,
        verb: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        of_project: bool = False,
    ) -> T:
        data = None if body is None else json.dumps(body).encode()
        return self._rest.request(
            verb, path, timeout, data, lambda answer: _read(read, answer), of_project=of_project
        )


def _read(read: Callable[[Any], T], answer: bytes) -> T:
    try:
        return read(json.loads(answer))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise StatusFault("INTERNAL", "the answer is none of Secret Manager's") from None


def _secret_of(answer: Any) -> SecretFacts:  # noqa: ANN401  JSON
    return SecretFacts(dict(answer.get("annotations", {})), answer.get("etag", ""))


def _versions_of(answer: Any) -> list[VersionFacts]:  # noqa: ANN401  JSON
    return [
        VersionFacts(
            _number_of(version),
            version["state"].lower(),
            version.get("etag", ""),
            _seconds_of(version.get("createTime")),
        )
        for version in answer.get("versions", [])
    ]


def _number_of(answer: Any) -> int:  # noqa: ANN401  JSON
    return int(answer["name"].rpartition("/")[2])


def _allowed_of(answer: Any) -> list[str]:  # noqa: ANN401  JSON
    return list(answer.get("permissions", []))


def _seconds_of(timestamp: str | None) -> float | None:
    return None if timestamp is None else datetime.fromisoformat(timestamp).timestamp()


def _names_of(answer: Any) -> tuple[list[str], str]:  # noqa: ANN401  JSON
    names = [secret["name"] for secret in answer.get("secrets", [])]
    return names, answer.get("nextPageToken", "")


def _grants_of(answer: Any) -> list[Grant]:  # noqa: ANN401  JSON
    return grants_of(
        (binding["role"], binding.get("members", []), "condition" in binding)
        for binding in answer.get("bindings", [])
    )
