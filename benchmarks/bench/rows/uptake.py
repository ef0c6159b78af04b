"""From a rotation to the first request that uses the new version: strict, bounded and pushed.

Method: a local Secret Manager (`pgp_config.emulator`, over gRPC) gets a new version; requests, each a scope
with one read, follow one another a millisecond apart. The time is taken from before the version is added to
the beginning of the first request that sees it. Nothing is faked: the source is Google's client, the push is
a signed HTTP request of the emulator to a Flask application with a `PushEndpoint`, which verifies it, fetches
the number and only then answers.

- strict (`EVERY_REQUEST`): how many requests it takes; the mark is the next one.
- bounded: the last request that still saw the old version, as a share of `max_age` (0.5 s).
- push (`max_age` of an hour): the time above one fetch from the same emulator in the same round.

All of it is in one process, whose threads share the interpreter: the emulator's work is in the figures.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.serving import make_server

import pgp_config_flask
from bench.harness import Mark, measure, quartiles, sampled
from bench.results import Figure, RowResult
from pgp_config import (
    EVERY_REQUEST,
    DynamicSecret,
    Freshness,
    GoogleSecretManager,
    GoogleTokens,
    PushEndpoint,
    SecretContainer,
    request_scope,
)
from pgp_config.emulator import PushUrl, SecretManagerEmulator
from pgp_config.emulator.signing import SERVICE_ACCOUNT
from pgp_config.push.tokens import fetch_certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.harness import Case, Options

NAME = "uptake"
TITLE = "From a rotation to its first use"

STRICT, BOUNDED, PUSHED, FETCH = "strict", "bounded", "push", "one fetch from the emulator"

#: Seconds between two requests, and `max_age` of the bounded mode: short, for a sample takes as long.
PAUSE, MAX_AGE = 0.001, 0.5

#: Seconds after which a rotation that nobody sees ends the run.
PATIENCE = 30.0

AUDIENCE = "https://bench.example/pubsub/secrets"


class Secrets(SecretContainer):
    """One secret."""

    key = DynamicSecret("UPTAKE_KEY", str)


def run(options: Options) -> RowResult:
    """Measure the row."""
    requests: list[float] = []
    old: list[float] = []
    with SecretManagerEmulator(topics=["projects/local/topics/secrets"]) as manager:
        rotation = Rotation(manager)
        cases: list[Case] = [
            sampled(STRICT, lambda: _strict(rotation, requests)),
            sampled(BOUNDED, lambda: _bounded(rotation, old)),
            sampled(PUSHED, lambda: _pushed(rotation)),
            sampled(FETCH, lambda: _fetch(manager)),
        ]
        measured = measure(cases, options, rounds=options.choose(full=41, quick=4))
    lead = [
        pushed - trip
        for pushed, trip in zip(measured.samples[PUSHED], measured.samples[FETCH], strict=True)
    ]
    return RowResult(
        name=NAME,
        title=TITLE,
        figures=(
            _counted(
                f"{STRICT}, requests until the new version, at most", requests, "requests", 1
            ),
            _counted(
                f"{BOUNDED}, the last request that saw the old one, at most", old, "max_age", 1
            ),
            _median(f"{PUSHED}, above one fetch", lead, Mark(at_most=0.05, text="≤ 50 ms")),
            measured.figure(STRICT, note="from adding the version to the request that sees it"),
            measured.figure(BOUNDED, note=f"max_age={MAX_AGE:g}"),
            measured.figure(PUSHED, note="signed, verified, fetched by number"),
            measured.figure(FETCH),
        ),
    )


def _counted(case: str, values: Sequence[float], unit: str, most: float) -> Figure:
    worst, mark = max(values), Mark(at_most=most)
    return Figure(
        case=case,
        value=worst,
        unit=unit,
        spread=quartiles(values),
        mark=str(mark),
        verdict=mark.verdict(worst),
    )


def _median(case: str, values: Sequence[float], mark: Mark) -> Figure:
    middle = sorted(values)[len(values) // 2]
    spread, verdict = quartiles(values), mark.verdict(middle)
    note = f"the slowest {max(values) * 1000:.3g} ms"
    return Figure(
        case=case, value=middle, spread=spread, mark=str(mark), verdict=verdict, note=note
    )


class Rotation:
    """Adds versions of the one secret, each with another value."""

    def __init__(self, manager: SecretManagerEmulator) -> None:
        self.manager = manager
        self._number = 1
        manager.add("UPTAKE_KEY", "version 1")

    def watch(self, read: Callable[[], str]) -> tuple[float, float, int]:
        """Rotate, and let requests follow one another until one sees it.

        Returns:
            Seconds from the rotation to the beginning of the last request that saw the old version, and of the
            first one that saw the new; and how many there were.
        """
        self._number += 1
        new = f"version {self._number}"
        rotated = time.perf_counter()
        self.manager.add("UPTAKE_KEY", new)
        last_old, count = 0.0, 0
        while True:
            began, count = time.perf_counter(), count + 1
            with request_scope():
                seen = read()
            if seen == new:
                return last_old - rotated if last_old else 0.0, began - rotated, count
            last_old = began
            if began - rotated > PATIENCE:
                raise RuntimeError(f"no request saw the rotation within {PATIENCE:g} s")
            time.sleep(PAUSE)


@contextmanager
def _opened(manager: SecretManagerEmulator, freshness: Freshness) -> Iterator[Secrets]:
    source = GoogleSecretManager("local", endpoint=manager.endpoint)
    secrets = Secrets(source=source, freshness=freshness, observers=[])
    secrets.load()
    try:
        yield secrets
    finally:
        secrets.close()


@contextmanager
def _strict(rotation: Rotation, requests: list[float]) -> Iterator[Callable[[], float]]:
    with _opened(rotation.manager, EVERY_REQUEST) as secrets:

        def sample() -> float:
            _, first, count = rotation.watch(secrets.key)
            requests.append(count)
            return first

        yield sample


@contextmanager
def _bounded(rotation: Rotation, old: list[float]) -> Iterator[Callable[[], float]]:
    with _opened(rotation.manager, Freshness(MAX_AGE)) as secrets:

        def sample() -> float:
            with request_scope():
                secrets.key()  # in use, as in a service: the other cases took their time
            last_old, first, _ = rotation.watch(secrets.key)
            old.append(last_old / MAX_AGE)
            return first

        yield sample


@contextmanager
def _pushed(rotation: Rotation) -> Iterator[Callable[[], float]]:
    manager = rotation.manager
    with ExitStack() as stack:
        secrets = stack.enter_context(_opened(manager, Freshness(3600)))
        port = stack.enter_context(_listening(manager, secrets))
        push = PushUrl(
            f"http://127.0.0.1:{port}/pubsub/secrets", signer=manager.signer, audience=AUDIENCE
        )
        manager.publish_to(push)

        def sample() -> float:
            return rotation.watch(secrets.key)[1]

        yield sample


@contextmanager
def _listening(manager: SecretManagerEmulator, secrets: Secrets) -> Iterator[int]:
    certificates = f"http://{manager.rest_endpoint}/oauth2/v1/certs"
    tokens = GoogleTokens(
        audience=AUDIENCE,
        service_account=SERVICE_ACCOUNT,
        certificates=lambda: fetch_certificates(certificates),
    )
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it writes a line a request
    app = Flask("uptake")
    pgp_config_flask.install(app, secrets, push=PushEndpoint(verifier=tokens))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()


@contextmanager
def _fetch(manager: SecretManagerEmulator) -> Iterator[Callable[[], float]]:
    source = GoogleSecretManager("local", endpoint=manager.endpoint)
    source.fetch("UPTAKE_KEY")

    def sample() -> float:
        began = time.perf_counter()
        source.fetch("UPTAKE_KEY")
        return time.perf_counter() - began

    try:
        yield sample
    finally:
        source.close()
