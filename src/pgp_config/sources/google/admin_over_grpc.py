"""Changes over gRPC, through Google's own client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgp_config.sources.administration import SecretFacts, VersionFacts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.cloud.secretmanager_v1 import SecretManagerServiceClient


class AdminOverGrpc:
    """See `AdminClient`; raises what Google's client raises.

    Args:
        google: Google's client.
    """

    def __init__(self, google: SecretManagerServiceClient) -> None:
        # Its methods take a request as a dictionary, which its types do not know.
        self._google: Any = google

    def describe(self, path: str, timeout: float) -> SecretFacts:
        """GetSecret."""
        secret = self._google.get_secret(request={"name": path}, retry=None, timeout=timeout)
        return SecretFacts(dict(secret.annotations), secret.etag)

    def versions(self, path: str, size: int, timeout: float) -> list[VersionFacts]:
        """ListSecretVersions, one page."""
        request = {"parent": path, "page_size": size}
        pager = self._google.list_secret_versions(request=request, retry=None, timeout=timeout)
        return [
            VersionFacts(int(v.name.rpartition("/")[2]), v.state.name.lower(), v.etag)
            for v in pager.versions
        ]

    def add(self, path: str, data: bytes, crc32c: int, timeout: float) -> int:
        """AddSecretVersion."""
        request = {"parent": path, "payload": {"data": data, "data_crc32c": crc32c}}
        added = self._google.add_secret_version(request=request, retry=None, timeout=timeout)
        return int(added.name.rpartition("/")[2])

    def switch(self, path: str, verb: str, etag: str, timeout: float) -> None:
        """EnableSecretVersion or DisableSecretVersion."""
        call = getattr(self._google, f"{verb}_secret_version")
        call(request={"name": path, "etag": etag}, retry=None, timeout=timeout)

    def annotate(
        self, path: str, annotations: Mapping[str, str], etag: str, timeout: float
    ) -> None:
        """UpdateSecret of the annotations."""
        secret = {"name": path, "annotations": dict(annotations), "etag": etag}
        request = {"secret": secret, "update_mask": {"paths": ["annotations"]}}
        self._google.update_secret(request=request, retry=None, timeout=timeout)

    def allowed(self, path: str, permissions: Sequence[str], timeout: float) -> list[str]:
        """TestIamPermissions."""
        request = {"resource": path, "permissions": list(permissions)}
        answer = self._google.test_iam_permissions(request=request, retry=None, timeout=timeout)
        return list(answer.permissions)
