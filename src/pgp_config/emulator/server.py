"""The local Secret Manager: started, controlled and stopped."""

from __future__ import annotations

import ipaddress
import os
import socket
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import google_crc32c
import grpc  # type: ignore[import-untyped]  # grpcio has no types

from pgp_config.emulator.controls import Controls
from pgp_config.emulator.messages import Secret, SecretPayload
from pgp_config.emulator.over_grpc import handlers_of
from pgp_config.emulator.over_rest import RestServer
from pgp_config.emulator.publishing import Outbox
from pgp_config.emulator.rules import StatusError
from pgp_config.emulator.service import Methods
from pgp_config.emulator.signing import TokenSigner
from pgp_config.emulator.store import Store
from pgp_config.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pgp_config.emulator.publishing import Target

#: Calls that are answered at once; a held one keeps its thread.
THREADS = 16


class SecretManagerEmulator(Controls):
    """A Secret Manager on the loopback that Google's own clients talk to; no place for real secrets.

    It holds everything in memory, asks nobody who they are, and speaks without TLS: gRPC on one port, REST
    (HTTP/1.1 and JSON) on another.

    Args:
        project: The project that `add()` and its like write to; callers may use any.
        host: An address of the loopback.
        port: The port of gRPC; 0 for a free one, which is kept over `stop()` and `start()`.
        rest_port: The port of REST; as `port`.
        clock: Seconds of Unix time; a test gives its own, for TTLs and delayed destruction.
        seed: For faults by chance.
        topics: Full names of Pub/Sub topics that the secrets made by `add()` and `create()` have.

    Raises:
        DeclarationError: If the host is not of the loopback.
    """

    def __init__(
        self,
        project: str = "local",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        rest_port: int = 0,
        clock: Callable[[], float] = time.time,
        seed: int = 0,
        topics: Iterable[str] = (),
    ) -> None:
        super().__init__(seed)
        if not ipaddress.ip_address(host).is_loopback:
            raise DeclarationError(
                f"the local Secret Manager was asked to listen on {host}",
                remedy="Use 127.0.0.1: it asks nobody who they are.",
            )
        self.project = project
        self.topics = tuple(topics)
        self.signer = TokenSigner()
        self._outbox = Outbox()
        self.store = Store(clock, self._outbox.put)
        self._host = host
        self._port = port
        self._rest_port = rest_port
        self._methods = Methods(self.store, self)
        self._servers: tuple[Any, RestServer] | None = None
        self._reserved: list[int] = []
        weakref.finalize(self, _release, self._reserved)

    def __repr__(self) -> str:
        return f"<SecretManagerEmulator at {self.endpoint}>"

    @property
    def endpoint(self) -> str:
        """Where it listens for gRPC, as a client's endpoint; the port is 0 before the first start."""
        return _joined(self._host, self._port)

    @property
    def rest_endpoint(self) -> str:
        """Where it listens for REST, over HTTP; the port is 0 before the first start."""
        return _joined(self._host, self._rest_port)

    def start(self) -> None:
        """Listen; what was stored before a stop is still there.

        Raises:
            DeclarationError: If a port is taken.
        """
        if self._servers is not None:
            return
        self.starting()
        _release(self._reserved)
        rest = self._rest_server()
        try:
            server = self._grpc_server()
        except BaseException:
            rest.disconnect()
            rest.join()
            raise
        self._servers = server, rest

    def stop(self) -> None:
        """Stop listening, and end the calls in flight; idempotent. The ports stay reserved."""
        servers, self._servers = self._servers, None
        if servers is not None:
            server, rest = servers
            # The connections end first: nobody is answered who was held back until the stop.
            rest.disconnect()
            stopped = server.stop(grace=None)
            self.stopping()
            stopped.wait()
            rest.join()
            self._reserved += [_bound(self._host, port) for port in (self._port, self._rest_port)]
        self._outbox.stop()

    def publish_to(self, target: Target, *, times: int = 1) -> None:
        """Deliver the events of all secrets that have topics, from now on.

        Args:
            target: `Topic("127.0.0.1:8085")`, a Pub/Sub emulator; `PushUrl(url, signer=manager.signer)`, a
                push endpoint; or any function that takes a `Notice`.
            times: How often each is delivered: 2 or more for duplicates, as Pub/Sub may.
        """
        self._outbox.add(target, times)

    def wait(self) -> None:
        """Wait until it is stopped."""
        if self._servers is not None:
            self._servers[0].wait_for_termination()

    def _grpc_server(self) -> Any:  # noqa: ANN401  grpcio has no types
        server = grpc.server(
            ThreadPoolExecutor(THREADS, "secret-manager-emulator"),
            handlers=handlers_of(self._methods),
            options=[("grpc.so_reuseport", 0)],
        )
        try:
            self._port = server.add_insecure_port(self.endpoint)
        except RuntimeError:
            raise _taken(self.endpoint) from None
        server.start()
        return server

    def _rest_server(self) -> RestServer:
        try:
            server = RestServer(
                self._host, self._rest_port, self._methods, self.signer.certificates
            )
        except OSError:
            raise _taken(self.rest_endpoint) from None
        self._rest_port = server.port
        return server

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        _release(self._reserved)

    # -- shortcuts ---------------------------------------------------------------------------

    def add(self, name: str, value: str | bytes) -> int:
        """Add a version to a global secret of the project; the secret too, if it is new.

        Returns:
            The version's number, 1 or more.

        Raises:
            StatusError: If Secret Manager would refuse it.
        """
        data = value.encode() if isinstance(value, str) else value
        self.create(name)
        payload = SecretPayload(data=data, data_crc32c=google_crc32c.value(data))
        return _number(self.store.add_version(self._path(name), payload))

    def create(self, name: str, labels: dict[str, str] | None = None) -> None:
        """Create a global secret of the project without a version, unless it is there."""
        try:
            self.store.get_secret(self._path(name))
        except StatusError as error:
            if error.code != "NOT_FOUND":
                raise
            secret = Secret(labels=labels or {}, topics=[{"name": t} for t in self.topics])
            secret.replication.automatic.SetInParent()
            self.store.create_secret(f"projects/{self.project}", name, secret)

    def disable(self, name: str, version: int) -> None:
        """Disable a version."""
        self.store.disable_version(f"{self._path(name)}/versions/{version}", "")

    def enable(self, name: str, version: int) -> None:
        """Enable a version."""
        self.store.enable_version(f"{self._path(name)}/versions/{version}", "")

    def destroy(self, name: str, version: int) -> None:
        """Destroy a version."""
        self.store.destroy_version(f"{self._path(name)}/versions/{version}", "")

    def grant(self, role: str, member: str, name: str | None = None) -> None:
        """Add a binding to a secret's IAM policy, or to the project's.

        The policies are kept and told, and bind nobody: callers have no identity here.

        Args:
            role: Such as "roles/secretmanager.secretAccessor".
            member: Such as "serviceAccount:split1@local.iam.gserviceaccount.com".
            name: The secret; None for the project.

        Raises:
            StatusError: If there is no such secret.
        """
        project = f"projects/{self.project}"
        policy = (
            self.store.get_project_policy(project)
            if name is None
            else self.store.get_policy(self._path(name))
        )
        policy.bindings.add(role=role, members=[member])
        if name is None:
            self.store.set_project_policy(project, policy)
        else:
            self.store.set_policy(self._path(name), policy)

    def lag(self, name: str, version: int | None) -> None:
        """Have access to `latest` answer with this version at most; None ends it."""
        if version is None:
            self.store.lagging.pop(name, None)
        else:
            self.store.lagging[name] = version

    def _path(self, name: str) -> str:
        return f"projects/{self.project}/secrets/{name}"


def _bound(host: str, port: int) -> int:
    """Keep a port, without listening on it.

    It is of the range that the system gives to those who connect: a client that knocks at it again and
    again would some time be given that very port, and be connected to itself.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    holder = socket.socket(family)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((host, port))
    return holder.detach()


def _release(reserved: list[int]) -> None:
    while reserved:
        os.close(reserved.pop())


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _taken(endpoint: str) -> DeclarationError:
    return DeclarationError(
        f"the local Secret Manager cannot listen on {endpoint}",
        remedy="Another program has the port: take another, or 0 for a free one.",
    )


def _number(version: Any) -> int:  # noqa: ANN401  a protobuf message
    return int(version.name.rpartition("/")[2])
