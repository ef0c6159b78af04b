"""The state of a Secret Manager: secrets, versions and policies; knows no transport."""

from __future__ import annotations

import copy
import itertools
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import google_crc32c
from google.iam.v1 import policy_pb2  # type: ignore[import-untyped]  # it has no types

from pgp_config.emulator import publishing, rules
from pgp_config.emulator.messages import (
    DESTROYED,
    DISABLED,
    ENABLED,
    AccessSecretVersionResponse,
    ListSecretsResponse,
    ListSecretVersionsResponse,
    Secret,
    SecretPayload,
    SecretVersion,
)
from pgp_config.emulator.rules import StatusError, failed, invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgp_config.emulator.publishing import Notice

_UPDATABLE = {
    "annotations",
    "expire_time",
    "labels",
    "rotation",
    "topics",
    "ttl",
    "version_aliases",
    "version_destroy_ttl",
}

_STATES = {ENABLED: "ENABLED", DISABLED: "DISABLED", DESTROYED: "DESTROYED"}


@dataclass(slots=True)
class _Version:
    meta: Any
    data: bytes = field(repr=False)


@dataclass(slots=True)
class _Stored:
    meta: Any
    versions: list[_Version] = field(default_factory=list)
    policy: Any = field(default_factory=policy_pb2.Policy)
    order: int = 0


class Store:
    """Secrets by resource name, with the rules of the real service.

    Args:
        clock: Seconds of Unix time; a test gives its own, for TTLs, rotations and delayed destruction.
        publish: Takes the messages of each change, for the topics of its secret; called under the
            store's lock, so that they are in order.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        publish: Callable[[list[Notice]], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._publish = publish
        self._secrets: dict[str, _Stored] = {}
        self._project_policies: dict[str, Any] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self.lagging: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Store of {len(self._secrets)} secrets>"

    # -- secrets -----------------------------------------------------------------------------

    def create_secret(self, parent: str, secret_id: str, secret: Any) -> Any:  # noqa: ANN401  protobuf messages have no types
        """Create a secret without versions."""
        name = rules.secret_name(parent, secret_id)
        regional = "/locations/" in parent
        with self._lock:
            if self._find(name) is not None:
                raise StatusError("ALREADY_EXISTS", f"Secret [{name}] already exists.")
            if regional == secret.HasField("replication"):
                raise invalid("A global secret needs a replication, and a regional one has none.")
            rules.check_metadata(secret)
            rules.check_aliases(secret.version_aliases, 0)
            meta = Secret()
            meta.CopyFrom(secret)
            meta.name = name
            self._stamp(meta.create_time)
            self._set_expiry(meta)
            stored = self._secrets[name] = _Stored(meta, order=next(self._numbers))
            self._touch(meta)
            self._publish(publishing.trial_notices(meta))
            self._tell("SECRET_CREATE", meta)
            return _copied(stored.meta)

    def get_secret(self, name: str) -> Any:  # noqa: ANN401  as above
        """A secret's metadata."""
        with self._lock:
            return _copied(self._secret(name).meta)

    def list_secrets(self, parent: str, size: int, token: str, expression: str) -> Any:  # noqa: ANN401  as above
        """The secrets of a project or location, the newest first."""
        rules.check_parent(parent)
        wanted = rules.predicate(expression, {"name": lambda s: s.name, "labels": lambda _: ""})
        with self._lock:
            self._expire()
            mine = [s for n, s in self._secrets.items() if n.rpartition("/secrets/")[0] == parent]
            found = [s.meta for s in sorted(mine, key=lambda s: -s.order) if wanted(s.meta)]
            shown, following = rules.page(found, size, token)
            return ListSecretsResponse(
                secrets=shown, next_page_token=following, total_size=len(found)
            )

    def update_secret(self, secret: Any, paths: list[str]) -> Any:  # noqa: ANN401  as above
        """Change the metadata that the mask names."""
        with self._lock:
            stored = self._secret(secret.name)
            _check_etag(secret.etag, stored.meta)
            if not paths or set(paths) - _UPDATABLE:
                raise invalid(
                    f"The update mask {sorted(paths)} names fields that cannot be updated."
                )
            changed = _copied(stored.meta)
            for path in paths:
                _take(changed, secret, path)
            rules.check_metadata(changed)
            rules.check_aliases(changed.version_aliases, len(stored.versions))
            self._set_expiry(changed)
            stored.meta = changed
            self._touch(changed)
            if "topics" in paths:
                self._publish(publishing.trial_notices(changed))
            self._tell("SECRET_UPDATE", changed)
            return _copied(changed)

    def delete_secret(self, name: str, etag: str) -> None:
        """Delete a secret and all its versions."""
        with self._lock:
            stored = self._secret(name)
            _check_etag(etag, stored.meta)
            del self._secrets[name]
            self._tell("SECRET_DELETE", stored.meta, deleteType="REQUESTED")

    # -- versions ----------------------------------------------------------------------------

    def add_version(self, parent: str, payload: Any) -> Any:  # noqa: ANN401  as above
        """Add a version; its number is one more than the last one's."""
        rules.check_payload(payload)
        with self._lock:
            stored = self._secret(parent)
            meta = SecretVersion(
                name=f"{parent}/versions/{len(stored.versions) + 1}", state=ENABLED
            )
            meta.client_specified_payload_checksum = payload.HasField("data_crc32c")
            self._stamp(meta.create_time)
            stored.versions.append(_Version(meta, bytes(payload.data)))
            self._touch(meta)
            self._tell("SECRET_VERSION_ADD", stored.meta, meta)
            return _copied(meta)

    def get_version(self, name: str) -> Any:  # noqa: ANN401  as above
        """A version's metadata, by number, alias or `latest`."""
        with self._lock:
            return _copied(self._version(name).meta)

    def list_versions(self, parent: str, size: int, token: str, expression: str) -> Any:  # noqa: ANN401  as above
        """The versions of a secret, the newest first."""
        fields = {"name": lambda v: v.name, "state": lambda v: _STATES[v.state]}
        wanted = rules.predicate(expression, fields)
        with self._lock:
            versions = reversed(self._secret(parent).versions)
            found = [version.meta for version in versions if wanted(version.meta)]
            shown, following = rules.page(found, size, token)
            return ListSecretVersionsResponse(
                versions=shown, next_page_token=following, total_size=len(found)
            )

    def access_version(self, name: str) -> Any:  # noqa: ANN401  as above
        """A version's payload, by number, alias or `latest`, with its crc32c."""
        with self._lock:
            version = self._version(name, lag=True)
            if version.meta.state != ENABLED:
                raise failed(
                    f"Secret Version [{version.meta.name}] is in {_STATES[version.meta.state]} state."
                )
            payload = SecretPayload(
                data=version.data, data_crc32c=google_crc32c.value(version.data)
            )
            return AccessSecretVersionResponse(name=version.meta.name, payload=payload)

    def disable_version(self, name: str, etag: str) -> Any:  # noqa: ANN401  as above
        """Refuse access to a version until it is enabled again."""
        return self._switch(name, etag, DISABLED)

    def enable_version(self, name: str, etag: str) -> Any:  # noqa: ANN401  as above
        """Allow access again; a scheduled destruction is called off."""
        return self._switch(name, etag, ENABLED)

    def _switch(self, name: str, etag: str, state: int) -> Any:  # noqa: ANN401  as above
        with self._lock:
            version = self._changeable(name, etag)
            version.meta.state = state
            if state == ENABLED:
                version.meta.ClearField("scheduled_destroy_time")
            self._touch(version.meta)
            kind = "SECRET_VERSION_ENABLE" if state == ENABLED else "SECRET_VERSION_DISABLE"
            self._tell(kind, self._secret_of(name), version.meta)
            return _copied(version.meta)

    def destroy_version(self, name: str, etag: str) -> Any:  # noqa: ANN401  as above
        """Forget a version's payload; with a `version_destroy_ttl`, disable it now and forget later."""
        with self._lock:
            version = self._changeable(name, etag)
            secret = self._secret_of(name)
            delay = secret.version_destroy_ttl
            kind = "SECRET_VERSION_DESTROY"
            if delay.ToSeconds() > 0:
                version.meta.state = DISABLED
                due = self._clock() + delay.ToSeconds()
                version.meta.scheduled_destroy_time.FromMicroseconds(int(due * 1e6))
                kind = "SECRET_VERSION_DESTROY_SCHEDULED"
            else:
                self._destroy(version)
            self._touch(version.meta)
            self._tell(kind, secret, version.meta)
            return _copied(version.meta)

    def _changeable(self, name: str, etag: str) -> _Version:
        if not rules.version_name(name).version.isdecimal():
            raise invalid(f"Resource name [{name}] needs a version's number.")
        version = self._version(name)
        _check_etag(etag, version.meta)
        if version.meta.state == DESTROYED:
            raise failed(f"Secret Version [{name}] is in DESTROYED state.")
        return version

    def _destroy(self, version: _Version) -> None:
        version.data = b""
        version.meta.state = DESTROYED
        version.meta.ClearField("scheduled_destroy_time")
        self._stamp(version.meta.destroy_time)

    # -- policies ----------------------------------------------------------------------------

    def set_policy(self, name: str, policy: Any) -> Any:  # noqa: ANN401  as above
        """Replace a secret's IAM policy, under its etag where one is given."""
        with self._lock:
            stored = self._secret(name)
            if policy.etag and policy.etag != stored.policy.etag:
                raise StatusError("ABORTED", "There were concurrent policy changes.")
            stored.policy = _copied(policy)
            stored.policy.etag = f"policy-{next(self._numbers)}".encode()
            return _copied(stored.policy)

    def get_policy(self, name: str) -> Any:  # noqa: ANN401  as above
        """A secret's IAM policy."""
        with self._lock:
            return _copied(self._secret(name).policy)

    def set_project_policy(self, name: str, policy: Any) -> Any:  # noqa: ANN401  as above
        """Replace a project's IAM policy, under its etag where one is given."""
        with self._lock:
            stored = self.get_project_policy(name)
            if policy.etag and policy.etag != stored.etag:
                raise StatusError("ABORTED", "There were concurrent policy changes.")
            kept = self._project_policies[name] = _copied(policy)
            kept.etag = f"policy-{next(self._numbers)}".encode()
            return _copied(kept)

    def get_project_policy(self, name: str) -> Any:  # noqa: ANN401  as above
        """A project's IAM policy; every project is there."""
        rules.check_project(name)
        with self._lock:
            return _copied(self._project_policies.get(name) or policy_pb2.Policy())

    # -- within ------------------------------------------------------------------------------

    def _find(self, name: str) -> _Stored | None:
        self._expire()
        return self._secrets.get(name)

    def _secret(self, name: str) -> _Stored:
        stored = self._find(rules.check_secret_name(name))
        if stored is None:
            raise StatusError("NOT_FOUND", f"Secret [{name}] not found.")
        return stored

    def _version(self, name: str, *, lag: bool = False) -> _Version:
        asked = rules.version_name(name)
        stored = self._secret(asked.secret)
        number = self._number(stored, asked, lag=lag)
        if not 1 <= number <= len(stored.versions):
            raise StatusError(
                "NOT_FOUND", f"Secret Version [{name}] not found or has no versions."
            )
        version = stored.versions[number - 1]
        self._destroy_if_due(version, stored.meta)
        return version

    def _number(self, stored: _Stored, asked: rules.VersionName, *, lag: bool) -> int:
        if asked.version.isdecimal():
            return int(asked.version)
        if asked.version == "latest":
            newest = len(stored.versions)
            return (
                min(newest, self.lagging.get(rules.short(asked.secret), newest)) if lag else newest
            )
        return int(stored.meta.version_aliases.get(asked.version, 0))

    def _destroy_if_due(self, version: _Version, secret: Any) -> None:  # noqa: ANN401  as above
        meta = version.meta
        if not meta.HasField("scheduled_destroy_time"):
            return
        if meta.scheduled_destroy_time.ToMicroseconds() <= self._clock() * 1e6:
            self._destroy(version)
            self._touch(meta)
            self._tell("SECRET_VERSION_DESTROY", secret, meta)

    def _expire(self) -> None:
        now = self._clock() * 1e6
        for name, stored in list(self._secrets.items()):
            meta = stored.meta
            if meta.HasField("expire_time") and meta.expire_time.ToMicroseconds() <= now:
                del self._secrets[name]
                self._tell("SECRET_DELETE", meta, deleteType="EXPIRATION")
            else:
                self._remind(meta, now)

    def _remind(self, meta: Any, now: float) -> None:  # noqa: ANN401  as above
        """Say that it is time to rotate; seen with the next call of any kind, as an expiry is."""
        due = meta.rotation.next_rotation_time
        if not meta.rotation.HasField("next_rotation_time") or due.ToMicroseconds() > now:
            return
        period = meta.rotation.rotation_period.ToMicroseconds()
        if period > 0:
            missed = (int(now) - due.ToMicroseconds()) // period
            due.FromMicroseconds(due.ToMicroseconds() + (missed + 1) * period)
        else:
            meta.rotation.ClearField("next_rotation_time")
        self._tell("SECRET_ROTATE", meta)

    def _secret_of(self, version: str) -> Any:  # noqa: ANN401  as above
        return self._secret(rules.version_name(version).secret).meta

    def _tell(self, kind: str, secret: Any, version: Any = None, **more: str) -> None:  # noqa: ANN401  as above
        if secret.topics:
            self._publish(publishing.notices(kind, secret, version, self._clock(), **more))

    def _set_expiry(self, meta: Any) -> None:  # noqa: ANN401  as above
        if meta.HasField("ttl"):
            due = self._clock() + meta.ttl.ToSeconds()
            meta.expire_time.FromMicroseconds(int(due * 1e6))  # of a oneof: it clears the ttl

    def _stamp(self, timestamp: Any) -> None:  # noqa: ANN401  as above
        timestamp.FromMicroseconds(int(self._clock() * 1e6))

    def _touch(self, meta: Any) -> None:  # noqa: ANN401  as above
        meta.etag = f'"{next(self._numbers):x}"'


def _take(changed: Any, secret: Any, path: str) -> None:  # noqa: ANN401  as above
    """Copy one field, or clear it where it is not set."""
    changed.ClearField(path)
    part = Secret()
    part.CopyFrom(secret)
    for name in [f.name for f in part.DESCRIPTOR.fields if f.name != path]:
        part.ClearField(name)
    changed.MergeFrom(part)


def _copied(message: Any) -> Any:  # noqa: ANN401  as above
    return copy.deepcopy(message)


def _check_etag(etag: str, meta: Any) -> None:  # noqa: ANN401  as above
    if etag and etag != meta.etag:
        raise failed(f"The etag of [{meta.name}] is not the one given: it was changed meanwhile.")
