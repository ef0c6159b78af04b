"""Google's own message types, as plain protobuf classes."""

from __future__ import annotations

from typing import Any

from google.cloud.secretmanager_v1 import types

# proto-plus classes wrap these; the wrappers cost time and hide presence.
Secret: Any = types.Secret.pb()
SecretVersion: Any = types.SecretVersion.pb()
SecretPayload: Any = types.SecretPayload.pb()
AccessSecretVersionRequest: Any = types.AccessSecretVersionRequest.pb()
AccessSecretVersionResponse: Any = types.AccessSecretVersionResponse.pb()
AddSecretVersionRequest: Any = types.AddSecretVersionRequest.pb()
CreateSecretRequest: Any = types.CreateSecretRequest.pb()
DeleteSecretRequest: Any = types.DeleteSecretRequest.pb()
DestroySecretVersionRequest: Any = types.DestroySecretVersionRequest.pb()
DisableSecretVersionRequest: Any = types.DisableSecretVersionRequest.pb()
EnableSecretVersionRequest: Any = types.EnableSecretVersionRequest.pb()
GetSecretRequest: Any = types.GetSecretRequest.pb()
GetSecretVersionRequest: Any = types.GetSecretVersionRequest.pb()
ListSecretsRequest: Any = types.ListSecretsRequest.pb()
ListSecretsResponse: Any = types.ListSecretsResponse.pb()
ListSecretVersionsRequest: Any = types.ListSecretVersionsRequest.pb()
ListSecretVersionsResponse: Any = types.ListSecretVersionsResponse.pb()
UpdateSecretRequest: Any = types.UpdateSecretRequest.pb()

#: The states of a version.
ENABLED, DISABLED, DESTROYED = 1, 2, 3
