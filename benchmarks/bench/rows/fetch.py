"""One access to a Secret Manager on this machine: what our source adds to the call itself.

The server is the local Secret Manager of `pgp_config.emulator` in a process of its own, over loopback
and without TLS. What raw gRPC does is the least that a caller can: `unary_unary` on an open channel,
with Google's own message types and the deadline, and the value, version and checksum taken from the
answer. Each case has a channel of its own, opened before; nothing is cached in any of them.
"""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import grpc  # type: ignore[import-untyped]  # grpcio has no types
from google.auth.credentials import AnonymousCredentials
from google.cloud.secretmanager_v1 import (
    AccessSecretVersionRequest,
    AccessSecretVersionResponse,
    SecretManagerServiceClient,
)
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcTransport,
    SecretManagerServiceRestTransport,
)

from bench.harness import Mark, Statement, loop, measure
from bench.peers.local_manager import NAME as SECRET
from bench.peers.local_manager import PROJECT, running
from bench.results import RowResult
from pgp_config import GoogleSecretManager

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.harness import Body, Options
    from bench.peers.local_manager import Addresses
    from bench.results import Figure

NAME = "fetch"
TITLE = "Fetch of one secret from a local Secret Manager"

RAW = "floor: raw gRPC unary_unary"
GOOGLE, OURS = "Google's client", "GoogleSecretManager.fetch"
GOOGLE_REST, OURS_REST = "Google's client, REST", "GoogleSecretManager.fetch, REST"

MARK = Mark(at_most=1.15)

#: As Google's client names the method.
METHOD = "/google.cloud.secretmanager.v1.SecretManagerService/AccessSecretVersion"

PATH = f"projects/{PROJECT}/secrets/{SECRET}/versions/latest"

#: Seconds, as our source gives an attempt.
DEADLINE = 1.0

NOTES = (
    (
        "Ours gives each fetch a deadline and a budget with retries, Google's header that routes it and the one that"
        " names the library, checks names, and turns faults into errors that name the secret. The raw call has the"
        " deadline alone."
    ),
    "Client and server share the machine's cores: about half of the time is the server's.",
)


def run(options: Options) -> RowResult:
    """Measure the row."""
    with running() as server:
        cases = {
            RAW: _raw,
            GOOGLE: _google,
            OURS: _ours,
            GOOGLE_REST: _google_rest,
            OURS_REST: _ours_rest,
        }
        measured = measure(
            [loop(name, partial(prepare, server)) for name, prepare in cases.items()],
            options,
            rounds=options.choose(full=101, quick=21),
        )
    return RowResult(
        name=NAME,
        title=TITLE,
        figures=(
            measured.figure(OURS, ratio_to=RAW, mark=MARK),
            measured.figure(OURS, ratio_to=GOOGLE),
            measured.figure(OURS_REST, ratio_to=GOOGLE_REST),
            *measured.figures(floor=RAW, without=[OURS]),
        ),
        notes=NOTES,
    )


def own_figures(options: Options) -> list[Figure]:
    """Ours beside the raw call, in the time of this process alone: for the guard, on a busy machine."""
    with running() as server:
        cases = [
            loop(name, partial(prepare, server), clock=time.process_time)
            for name, prepare in ((RAW, _raw), (OURS, _ours))
        ]
        return [measure(cases, options).figure(OURS, ratio_to=RAW)]


@contextmanager
def _raw(server: Addresses) -> Iterator[Body]:
    with closing(grpc.insecure_channel(server.grpc)) as channel:
        call = channel.unary_unary(
            METHOD,
            request_serializer=AccessSecretVersionRequest.serialize,
            response_deserializer=AccessSecretVersionResponse.deserialize,
        )

        def fetch() -> tuple[bytes, int, int]:
            answer = call(AccessSecretVersionRequest(name=PATH), timeout=DEADLINE)
            payload = answer.payload
            return payload.data, int(answer.name.rpartition("/")[2]), payload.data_crc32c

        yield fetch


@contextmanager
def _google(server: Addresses) -> Iterator[Body]:
    transport = SecretManagerServiceGrpcTransport(channel=grpc.insecure_channel(server.grpc))
    yield from _of_google(SecretManagerServiceClient(transport=transport))


@contextmanager
def _google_rest(server: Addresses) -> Iterator[Body]:
    nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]  # Google's
    transport = SecretManagerServiceRestTransport(
        host=server.rest, url_scheme="http", credentials=nobody
    )
    yield from _of_google(SecretManagerServiceClient(transport=transport))


def _of_google(client: SecretManagerServiceClient) -> Iterator[Body]:
    with client:

        def fetch() -> tuple[bytes, int, int]:
            answer = client.access_secret_version(name=PATH, timeout=DEADLINE)
            payload = answer.payload
            return payload.data, int(answer.name.rpartition("/")[2]), payload.data_crc32c

        yield fetch


@contextmanager
def _ours(server: Addresses) -> Iterator[Body]:
    with closing(GoogleSecretManager(PROJECT, endpoint=server.grpc)) as source:
        yield Statement("source.fetch(name)", source=source, name=SECRET)


@contextmanager
def _ours_rest(server: Addresses) -> Iterator[Body]:
    manager = GoogleSecretManager(PROJECT, endpoint=server.rest, transport="rest")
    with closing(manager) as source:
        yield Statement("source.fetch(name)", source=source, name=SECRET)
