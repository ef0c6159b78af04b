"""Secret Manager over gRPC: Google's own client, and its channel for what every fetch does."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]  # grpcio has no types
from google.api_core.exceptions import from_grpc_error
from google.api_core.gapic_v1.routing_header import to_grpc_metadata
from google.cloud.secretmanager_v1 import (
    AccessSecretVersionRequest,
    AccessSecretVersionResponse,
    SecretManagerServiceClient,
)
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcTransport,
)
from google.cloud.secretmanager_v1.services.secret_manager_service.transports.base import (
    DEFAULT_CLIENT_INFO,
)

from pgp_config.errors import DeclarationError
from pgp_config.payload import Payload
from pgp_config.sources.google.admin_over_grpc import AdminOverGrpc
from pgp_config.sources.google.debug_logs import withhold_answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.auth.credentials import Credentials

    #: Takes a version's resource name and seconds; gives the bare protobuf message of the answer.
    Access = Callable[[str, float], Any]

#: After an outage gRPC would otherwise wait up to 120 s before it connects again, and an attempt to
#: connect takes up to 20 s (milliseconds; grpc/grpc: include/grpc/impl/channel_arg_names.h).
_CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.min_reconnect_backoff_ms", 5000),
)

#: Seconds for which a fork under gevent waits at most for the threads of its pool.
SETTLING = 2.0

#: The process that used gRPC first, under "pid"; a forked child inherits the parent's.
_first_user: dict[str, int] = {}

#: How gRPC is told that nobody forks.
_NO_FORKS = frozenset({"0", "f", "false", "n", "no"})

_ACCESS = "/google.cloud.secretmanager.v1.SecretManagerService/AccessSecretVersion"

#: Who answers for projects.
PROJECTS_HOST = "cloudresourcemanager.googleapis.com"

_LOGGERS = "google.cloud.secretmanager_v1.services.secret_manager_service.transports"


class GrpcClient:
    """Accesses versions with Google's client.

    Args:
        client: Google's, over whatever transport; it is closed with this.
        access: Reads a version in its place.
    """

    #: Whether the server is a local one, which answers for projects too.
    is_local = False

    def __init__(self, client: SecretManagerServiceClient, access: Access | None = None) -> None:
        self.google = client
        self._projects: Any = None
        self._access = access or functools.partial(_access_through, client)
        withhold_answers(f"{_LOGGERS}.grpc", f"{_LOGGERS}.rest")

    def access(self, path: str, timeout: float) -> Payload:
        """One attempt to read a version, in `timeout` seconds; raises what Google's client raises."""
        return _payload_of(self._access(path, timeout))

    def admin(self) -> AdminOverGrpc:
        """What makes changes, over the same connection."""
        return AdminOverGrpc(self.google, self._to_projects)

    def close(self) -> None:
        """End the connections."""
        if self._projects is not None:
            self._projects.close()
        self.google.transport.close()  # type: ignore[no-untyped-call]  # Google's

    def _to_projects(self) -> Any:  # noqa: ANN401  grpc is untyped
        transport: Any = self.google.transport
        if self.is_local:
            return transport.grpc_channel
        if self._projects is None:
            self._projects = SecretManagerServiceGrpcTransport.create_channel(
                PROJECTS_HOST,
                credentials=transport._credentials,  # noqa: SLF001  where Google's client keeps them
                scopes=("https://www.googleapis.com/auth/cloud-platform",),
            )
        return self._projects


def connect(
    *,
    location: str | None,
    endpoint: str | None,
    credentials: Credentials | None,
    user_agent: str | None = None,
) -> GrpcClient:
    """A client of Google's service, or of a local server without encryption and credentials."""
    _prepare_grpc()
    if endpoint is not None:
        transport = SecretManagerServiceGrpcTransport(channel=_local_channel(endpoint, user_agent))
        local = _straight(SecretManagerServiceClient(transport=transport))
        local.is_local = True
        return local
    options = {"api_endpoint": f"secretmanager.{location}.rep.googleapis.com"} if location else {}
    create = SecretManagerServiceGrpcTransport.create_channel
    return _straight(
        SecretManagerServiceClient(
            credentials=credentials,
            client_options=options,
            transport=functools.partial(
                SecretManagerServiceGrpcTransport,
                channel=functools.partial(_channel, create, user_agent),
            ),
        )
    )


def _straight(client: SecretManagerServiceClient) -> GrpcClient:
    """Accesses over the client's channel, as it would, without its layers: they take 100 µs a call.

    What a user's factory made is not treated so: it may be there for the sake of one of the layers.
    """
    request, answer = AccessSecretVersionRequest.pb(), AccessSecretVersionResponse.pb()
    channel: Any = client.transport.grpc_channel  # type: ignore[attr-defined]  # it is the one over gRPC
    call = channel.unary_unary(
        _ACCESS,
        request_serializer=request.SerializeToString,
        response_deserializer=answer.FromString,
    )
    library = DEFAULT_CLIENT_INFO.to_grpc_metadata()  # type: ignore[no-untyped-call]  # Google's

    def access(path: str, timeout: float) -> Any:  # noqa: ANN401  protobuf makes its classes at run time
        headers = (to_grpc_metadata((("name", path),)), library)  # type: ignore[no-untyped-call]  # as above
        try:
            return call(request(name=path), timeout=timeout, metadata=headers)
        except grpc.RpcError as fault:
            raise from_grpc_error(fault) from fault  # type: ignore[no-untyped-call]  # as above

    return GrpcClient(client, access)


def _access_through(client: SecretManagerServiceClient, path: str, timeout: float) -> Any:  # noqa: ANN401  as above
    # Google's own retry would block for 52 s.
    answer = client.access_secret_version(request={"name": path}, retry=None, timeout=timeout)
    return AccessSecretVersionResponse.pb(answer)


def _prepare_grpc() -> None:
    """Refuse what hangs, and have gRPC wait in gevent's way."""
    _refuse_fork_without_support()
    if grpc.__version__ == "1.78.1":
        raise DeclarationError(
            "grpcio 1.78.1 is installed, which hangs in a forked process",
            remedy="Install another release: pip install 'grpcio!=1.78.1'.",
        )
    monkey: Any = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("socket"):
        from grpc.experimental.gevent import (  # type: ignore[import-untyped]  # noqa: PLC0415  needs gevent
            init_gevent,
        )

        init_gevent()  # a second call does nothing


def await_gevents_threads() -> None:
    """After gRPC's last channel: the thread that handed its work to greenlets lets go of its lock.

    A child that inherited the lock would hang in its first channel, and one that inherited the wait
    for work, when it exits.
    """
    gevent = importlib.import_module("gevent")
    with gevent.Timeout(SETTLING, False):
        gevent.get_hub().threadpool.join()


def _refuse_fork_without_support() -> None:
    is_home = _first_user.setdefault("pid", os.getpid()) == os.getpid()
    if not is_home and os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "").lower() in _NO_FORKS:
        raise DeclarationError(
            "GRPC_ENABLE_FORK_SUPPORT is off, and this process was forked after Secret Manager was used: "
            "gRPC hangs here",
            remedy='Unset the variable, load secrets after the fork only, or use transport="rest".',
        )


def _channel(
    create: Callable[..., Any],
    user_agent: str | None,
    host: str,
    **options: Any,  # noqa: ANN401  grpc is untyped
) -> Any:  # noqa: ANN401  as above
    options["options"] = [*options.get("options", ()), *_channel_options(user_agent)]
    return create(host, **options)


def _local_channel(endpoint: str, user_agent: str | None) -> Any:  # noqa: ANN401  as above
    # An http_proxy of the environment would otherwise be asked for a port of its own machine.
    no_proxy = ("grpc.enable_http_proxy", 0)
    return grpc.insecure_channel(endpoint, options=[*_channel_options(user_agent), no_proxy])


def _channel_options(user_agent: str | None) -> list[tuple[str, object]]:
    named = [("grpc.primary_user_agent", user_agent)] if user_agent else []
    return [*_CHANNEL_OPTIONS, *named]


def _payload_of(response: Any) -> Payload:  # noqa: ANN401  as above
    # `repr(response)` prints the payload: nothing here may raise or log it.
    payload = response.payload
    checksum = payload.data_crc32c if payload.HasField("data_crc32c") else None
    return Payload(payload.data, int(response.name.rpartition("/")[2]), checksum)
