"""The gRPC side: Google's methods on Google's messages, answered from the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]  # grpcio has no types
from google.iam.v1 import (  # type: ignore[import-untyped]  # it has no types
    iam_policy_pb2,
    policy_pb2,
)
from google.protobuf import empty_pb2

from pgp_config.emulator import messages
from pgp_config.emulator.rules import StatusError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgp_config.emulator.controls import Controls
    from pgp_config.emulator.store import Store

SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"

Answer = Any
"""A protobuf message; the generated classes have no types."""


class Methods:
    """The methods of the service, each from a request to an answer.

    Args:
        store: The state.
        controls: Damages checksums as told.
    """

    def __init__(self, store: Store, controls: Controls) -> None:
        self._store = store
        self._controls = controls

    def table(self) -> dict[str, tuple[Callable[[Any], Answer], Any]]:
        """Each method's name, with what answers it and the class of its request."""
        m = messages
        return {
            "CreateSecret": (self._create_secret, m.CreateSecretRequest),
            "GetSecret": (lambda r: self._store.get_secret(r.name), m.GetSecretRequest),
            "ListSecrets": (self._list_secrets, m.ListSecretsRequest),
            "UpdateSecret": (self._update_secret, m.UpdateSecretRequest),
            "DeleteSecret": (self._delete_secret, m.DeleteSecretRequest),
            "AddSecretVersion": (self._add_version, m.AddSecretVersionRequest),
            "GetSecretVersion": (
                lambda r: self._store.get_version(r.name),
                m.GetSecretVersionRequest,
            ),
            "ListSecretVersions": (self._list_versions, m.ListSecretVersionsRequest),
            "AccessSecretVersion": (self._access_version, m.AccessSecretVersionRequest),
            "DisableSecretVersion": (
                lambda r: self._store.disable_version(r.name, r.etag),
                m.DisableSecretVersionRequest,
            ),
            "EnableSecretVersion": (
                lambda r: self._store.enable_version(r.name, r.etag),
                m.EnableSecretVersionRequest,
            ),
            "DestroySecretVersion": (
                lambda r: self._store.destroy_version(r.name, r.etag),
                m.DestroySecretVersionRequest,
            ),
            "SetIamPolicy": (
                lambda r: self._store.set_policy(r.resource, r.policy),
                iam_policy_pb2.SetIamPolicyRequest,
            ),
            "GetIamPolicy": (self._get_policy, iam_policy_pb2.GetIamPolicyRequest),
            "TestIamPermissions": (
                self._test_permissions,
                iam_policy_pb2.TestIamPermissionsRequest,
            ),
        }

    def _create_secret(self, request: Any) -> Answer:  # noqa: ANN401  see Answer
        return self._store.create_secret(request.parent, request.secret_id, request.secret)

    def _list_secrets(self, request: Any) -> Answer:  # noqa: ANN401  see Answer
        return self._store.list_secrets(
            request.parent, request.page_size, request.page_token, request.filter
        )

    def _update_secret(self, request: Any) -> Answer:  # noqa: ANN401  see Answer
        return self._store.update_secret(request.secret, list(request.update_mask.paths))

    def _delete_secret(self, request: Any) -> Answer:  # noqa: ANN401  see Answer
        self._store.delete_secret(request.name, request.etag)
        return empty_pb2.Empty()

    def _add_version(self, request: Any) -> Answer:  # noqa: ANN401  see Answer
        return self._store.add_version(request.parent, request.payload)

    def _list_versions(self, request: Any) -> Answer:  # noqa: ANN401  see Answer
        return self._store.list_versions(
            request.parent, request.page_size, request.page_token, request.filter
        )

    def _access_version(self, request: Any) -> Answer:  # noqa: ANN401  see Answer
        answer = self._store.access_version(request.name)
        if self._controls.is_corrupt(request.name.split("/secrets/")[-1].partition("/")[0]):
            answer.payload.data_crc32c ^= 1
        return answer

    def _get_policy(self, request: Any) -> policy_pb2.Policy:  # noqa: ANN401  see Answer
        return self._store.get_policy(request.resource)

    def _test_permissions(self, request: Any) -> Answer:  # noqa: ANN401  see Answer
        self._store.get_policy(request.resource)
        # A local caller has no identity: it may do everything that is asked about.
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=request.permissions)


def handler_of(methods: Methods, controls: Controls) -> Any:  # noqa: ANN401  grpcio has no types
    """The handler that a gRPC server takes."""
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            name: grpc.unary_unary_rpc_method_handler(
                _unary(name, answer, controls),
                request_deserializer=request.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
            for name, (answer, request) in methods.table().items()
        },
    )


def _unary(
    method: str, answer: Callable[[Any], Answer], controls: Controls
) -> Callable[[Any, Any], Answer]:
    def handle(request: Any, context: Any) -> Answer:  # noqa: ANN401  see Answer
        target = _target(request)
        caller = dict(context.invocation_metadata()).get("user-agent", "")
        try:
            controls.before(method, target)
            response = answer(request)
        except StatusError as error:
            controls.note(method, target, caller, error.code)
            context.abort(getattr(grpc.StatusCode, error.code), error.message)
        controls.note(method, target, caller, "OK")
        return response

    return handle


def _target(request: Any) -> str:  # noqa: ANN401  see Answer
    if isinstance(request, messages.CreateSecretRequest):
        return f"{request.parent}/secrets/{request.secret_id}"
    if isinstance(request, messages.UpdateSecretRequest):
        return str(request.secret.name)
    for name in ("name", "parent", "resource"):
        if name in request.DESCRIPTOR.fields_by_name:
            return str(getattr(request, name))
    return ""  # pragma: no cover  # every request has one of them
