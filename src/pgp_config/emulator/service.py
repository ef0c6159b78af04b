"""Google's methods on Google's messages, answered from the store; knows no transport."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003  a named tuple keeps its annotations
from typing import TYPE_CHECKING, Any, NamedTuple

from google.iam.v1 import (  # type: ignore[import-untyped]  # it has no types
    iam_policy_pb2,
    policy_pb2,
)
from google.protobuf import empty_pb2

from pgp_config.emulator import messages
from pgp_config.emulator.rules import StatusError, short

if TYPE_CHECKING:
    from pgp_config.emulator.controls import Controls
    from pgp_config.emulator.store import Store

#: What the methods of Resource Manager's projects begin with; those of Secret Manager have no service.
PROJECTS = "Projects."

Answer = Any
"""A protobuf message; the generated classes have no types."""


class Method(NamedTuple):
    """What answers a request, and the class of that."""

    answer: Callable[[Any], Answer]
    request: Any


class Methods:
    """The methods of the service, each from a request to an answer.

    Args:
        store: The state.
        controls: Delays, refuses and damages answers as told, and logs the calls.
    """

    def __init__(self, store: Store, controls: Controls) -> None:
        self._store = store
        self._controls = controls
        self.table = self._table()

    def call(self, method: str, request: Any, caller: str) -> Answer:  # noqa: ANN401  see Answer
        """Answer a request.

        Args:
            method: Such as "AccessSecretVersion".
            request: Google's message.
            caller: The client's user agent.

        Raises:
            StatusError: If the answer is not OK.
        """
        target = _target(request)
        try:
            self._controls.before(method, target)
            answer = self.table[method].answer(request)
        except StatusError as error:
            self._controls.note(method, target, caller, error.code)
            raise
        self._controls.note(method, target, caller, "OK")
        return answer

    def _table(self) -> dict[str, Method]:
        methods = {**self._of_secrets(), **self._of_projects()}
        return {name: Method(*method) for name, method in methods.items()}

    def _of_projects(self) -> dict[str, tuple[Any, Any]]:
        """Those of Resource Manager: who may do something with all secrets of a project."""
        return {
            f"{PROJECTS}SetIamPolicy": (
                lambda r: self._store.set_project_policy(r.resource, r.policy),
                iam_policy_pb2.SetIamPolicyRequest,
            ),
            f"{PROJECTS}GetIamPolicy": (
                lambda r: self._store.get_project_policy(r.resource),
                iam_policy_pb2.GetIamPolicyRequest,
            ),
        }

    def _of_secrets(self) -> dict[str, tuple[Any, Any]]:
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
        # A local caller has no identity: it may do everything that no test forbids.
        secret = short(request.resource)
        allowed = [p for p in request.permissions if not self._controls.is_forbidden(p, secret)]
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=allowed)


def _target(request: Any) -> str:  # noqa: ANN401  see Answer
    if isinstance(request, messages.CreateSecretRequest):
        return f"{request.parent}/secrets/{request.secret_id}"
    if isinstance(request, messages.UpdateSecretRequest):
        return str(request.secret.name)
    for name in ("name", "parent", "resource"):
        if name in request.DESCRIPTOR.fields_by_name:
            return str(getattr(request, name))
    return ""  # pragma: no cover  # every request has one of them
