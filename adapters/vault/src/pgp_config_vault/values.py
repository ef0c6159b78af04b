"""The bytes of a secret in an answer of the KV engine, version 2: an object of keys, of which one is the value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pgp_config import Payload, RejectedVersion, SecretDisabled
from pgp_config_vault import faults
from pgp_config_vault.faults import VaultFault
from pgp_config_vault.sending import Number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgp_config import PgpConfigError
    from pgp_config_vault.sending import Answer

#: In a key's place: all of them, as a JSON object.
ALL = "*"

_MISSING, _INVALID = 404, 400


def outcome_of(answer: Answer, key: str) -> Payload | PgpConfigError:
    """The payload, or why there is none; an error is returned, for a frame that raises it holds the answer.

    Raises:
        VaultFault: If the answer is none of the KV engine's.
    """
    version = _version_in(answer)
    if version is not None and answer.is_ok:
        return _payload(answer.document["data"]["data"], key, version)
    if version is not None and answer.code == _MISSING:
        return _out_of_use(answer.document["data"]["metadata"], version)
    statuses = {_MISSING: faults.NOT_FOUND, _INVALID: faults.INVALID}
    return _odd(answer, statuses.get(answer.code, faults.ODD))


def _odd(answer: Answer, status: str) -> PgpConfigError:
    raise VaultFault(status, answer.reason)


def _version_in(answer: Answer) -> int | None:
    """The version's number in an answer that has one; of any other engine's, None."""
    data = answer.document.get("data")
    if not isinstance(data, dict) or "data" not in data:
        return None
    metadata = data.get("metadata")
    if not isinstance(metadata, dict):
        return None
    version = metadata.get("version")
    return version if isinstance(version, int) and version >= 1 else None


def _out_of_use(metadata: Mapping[str, Any], version: int) -> SecretDisabled:
    if metadata.get("destroyed"):
        return SecretDisabled(
            f"version {version} is destroyed", remedy="Write a new version: `bao kv put`."
        )
    return SecretDisabled(
        f"version {version} is deleted",
        remedy=f"Bring it back: `bao kv undelete -versions={version}`; or write a new version.",
    )


def _payload(found: object, key: str, version: int) -> Payload | PgpConfigError:
    if not isinstance(found, dict):
        return RejectedVersion(f"version {version} is no object of keys", remedy=_write(key))
    if key == ALL:
        return Payload(_json(found), version)
    value = found.get(key)
    if key not in found:
        return RejectedVersion(
            f"version {version} has {len(found)} keys, and none is {key!r}",
            remedy=f"Say which one it is: 'NAME#KEY', or '#{ALL}' for all of them as JSON; or write it: "
            + _write(key),
        )
    if value is None:
        return RejectedVersion(f"the key {key!r} of version {version} is null", remedy=_write(key))
    return Payload(_bytes(value), version)


def _write(key: str) -> str:
    return f"`bao kv put … {'KEY' if key == ALL else key}=…`."


def _bytes(value: object) -> bytes:
    """A text as it is, all else as JSON: `true`, `3.50`, a list."""
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")
    return value.written.encode() if isinstance(value, Number) else _json(value)


def _json(value: object) -> bytes:
    # Sorted: the same version always has the same bytes.
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode(errors="surrogatepass")
