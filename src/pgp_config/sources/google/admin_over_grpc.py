"""Changes over gRPC, through Google's own client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]  # grpcio has no types
from google.api_core.exceptions import from_grpc_error
from google.api_core.gapic_v1.routing_header import to_grpc_metadata
from google.iam.v1 import (  # type: ignore[import-untyped]  # it has no types
    iam_policy_pb2,
    policy_pb2,
)

from pgp_config.sources.administration import SecretFacts, VersionFacts
from pgp_config.sources.google.roles import grants_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from google.cloud.secretmanager_v1 import SecretManagerServiceClient

    from pgp_config.sources.administration import Grant


#: The release of a policy that tells conditions.
_POLICY_VERSION = 3

_PROJECT_POLICY = "/google.cloud.resourcemanager.v3.Projects/GetIamPolicy"


class AdminOverGrpc:
    """See `AdminClient`; raises what Google's client raises.

    Args:
        google: Google's client.
        to_projects: Opens the channel to Resource Manager, which answers for projects.
    """

    def __init__(self, google: SecretManagerServiceClient, to_projects: Callable[[], Any]) -> None:
        # Its methods take a request as a dictionary, which its types do not know.
        self._google: Any = google
        self._to_projects = to_projects

    def describe(self, path: str, timeout: float) -> SecretFacts:
        """GetSecret."""
        secret = self._google.get_secret(request={"name": path}, retry=None, timeout=timeout)
        return SecretFacts(dict(secret.annotations), secret.etag)

    def versions(self, path: str, size: int, timeout: float) -> list[VersionFacts]:
        """ListSecretVersions, one page."""
        request = {"parent": path, "page_size": size}
        pager = self._google.list_secret_versions(request=request, retry=None, timeout=timeout)
        return [
            VersionFacts(
                int(v.name.rpartition("/")[2]),
                v.state.name.lower(),
                v.etag,
                v.create_time.timestamp() if v.create_time else None,
            )
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

    def names(self, parent: str, size: int, token: str, timeout: float) -> tuple[list[str], str]:
        """ListSecrets, one page."""
        request = {"parent": parent, "page_size": size, "page_token": token}
        pager = self._google.list_secrets(request=request, retry=None, timeout=timeout)
        return [secret.name for secret in pager.secrets], pager.next_page_token

    def grants(self, path: str, timeout: float) -> list[Grant]:
        """GetIamPolicy of a secret."""
        return _grants_of(
            self._google.get_iam_policy(request=_asked(path), retry=None, timeout=timeout)
        )

    def grants_of_project(self, path: str, timeout: float) -> list[Grant]:
        """GetIamPolicy of a project; Resource Manager's own client would be one more library."""
        channel = self._to_projects()
        call = channel.unary_unary(
            _PROJECT_POLICY,
            request_serializer=iam_policy_pb2.GetIamPolicyRequest.SerializeToString,
            response_deserializer=policy_pb2.Policy.FromString,
        )
        headers = (to_grpc_metadata((("resource", path),)),)  # type: ignore[no-untyped-call]  # Google's
        request = iam_policy_pb2.GetIamPolicyRequest(**_asked(path))
        try:
            return _grants_of(call(request, timeout=timeout, metadata=headers))
        except grpc.RpcError as fault:
            raise from_grpc_error(fault) from fault  # type: ignore[no-untyped-call]  # Google's


def _asked(path: str) -> dict[str, Any]:
    return {"resource": path, "options": {"requested_policy_version": _POLICY_VERSION}}


def _grants_of(policy: Any) -> list[Grant]:  # noqa: ANN401  a protobuf message
    return grants_of(
        (binding.role, binding.members, binding.HasField("condition"))
        for binding in policy.bindings
    )
