"""The rows of the fault matrix, as what is done to the pilot's surroundings step by step.

Each fault is a generator: what it does up to its first `yield` begins it, each further step goes on with
it, and closing it heals everything. tests/faults/ holds the same rows as tests, on a fake clock.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgp_config.emulator.controls import CODES

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Generator, Sequence

    from pgp_config.emulator import SecretManagerEmulator
    from pgp_services.soak.ledger import Ledger

    Steps = Generator[None, None, None]
    Fault = Callable[["Surroundings", str], Steps]

#: Values that fit the type of no secret of the pilot.
UNFIT: tuple[str | bytes, ...] = (
    "",
    "\n",
    "not of the type",
    "3 %",
    b"\xff\xfe",
    b"\x00",
    b"key\xc3",
    b"\xff" * 65536,
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a fault has its hands on.

    Attributes:
        manager: The local Secret Manager.
        ledger: Changes secrets.
        workers: The process ids of the pilots' workers.
        chance: For what is left to chance.
    """

    manager: SecretManagerEmulator
    ledger: Ledger
    workers: Sequence[int]
    chance: random.Random


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the matrix.

    Attributes:
        name: What is wrong.
        fault: Brings it about, for one secret or for all.
        target: The secret; neither meanwhile nor in the row before is it rotated by others.
    """

    name: str
    fault: Fault
    target: str


def nothing(_surroundings: Surroundings, _target: str) -> Steps:
    """Nothing is wrong."""
    while True:
        yield


def source_down(at: Surroundings, _target: str) -> Steps:
    """Secret Manager does not listen."""
    at.manager.stop()
    yield from _until_closed(at.manager.start)


def source_down_and_up(at: Surroundings, _target: str) -> Steps:
    """Secret Manager comes and goes."""
    try:
        while True:
            at.manager.stop()
            yield
            at.manager.start()
            yield
            yield
    finally:
        at.manager.start()


def errors(code: str) -> Fault:
    """30 % of the calls for every secret fail with a gRPC code."""

    def fault(at: Surroundings, target: str) -> Steps:
        at.manager.inject(code, chance=0.3)
        yield from _until_closed(lambda: at.ledger.heal(target))

    return fault


def latency(at: Surroundings, target: str) -> Steps:
    """5 s of latency for one secret."""
    at.manager.delay(5.0, target)
    yield from _until_closed(lambda: at.ledger.heal(target))


def quota_exceeded(at: Surroundings, target: str) -> Steps:
    """Every call for one secret is refused for its quota."""
    at.manager.inject("RESOURCE_EXHAUSTED", secret=target)
    yield from _until_closed(lambda: at.ledger.heal(target))


def access_revoked(at: Surroundings, target: str) -> Steps:
    """The service may not read one secret any more."""
    at.manager.deny(target)
    yield from _until_closed(lambda: at.ledger.heal(target))


def wrong_checksum(at: Surroundings, target: str) -> Steps:
    """The payloads of one secret are damaged on their way, and it is rotated."""
    at.ledger.damage(target)
    at.ledger.rotate(target)
    yield from _until_closed(lambda: at.ledger.heal(target))


def wrong_type(at: Surroundings, target: str) -> Steps:
    """A version comes that is not of the declared type, and later a good one."""
    at.ledger.spoil(target, "not of the type")
    yield from _until_closed(lambda: at.ledger.rotate(target))


def any_bytes(at: Surroundings, target: str) -> Steps:
    """Versions of any bytes come, never more than a few before a good one."""
    while True:
        for value in at.chance.sample(UNFIT, 3):
            at.ledger.spoil(target, value)
        yield
        at.ledger.rotate(target)
        yield


def newest_disabled(at: Surroundings, target: str) -> Steps:
    """The newest version is disabled, for a while."""
    at.ledger.disable_newest(target)
    yield from _until_closed(lambda: at.ledger.enable_all(target))


def latest_lags(at: Surroundings, target: str) -> Steps:
    """`latest` goes on answering with an old version while newer ones are added."""
    at.ledger.lag(target)
    at.ledger.rotate(target)
    yield from _until_closed(lambda: at.ledger.heal(target))


def frozen(at: Surroundings, _target: str) -> Steps:
    """A worker is frozen between two instructions, as Cloud Run does, and thawed."""
    worker = at.chance.choice(at.workers)
    os.kill(worker, signal.SIGSTOP)
    yield from _until_closed(lambda: os.kill(worker, signal.SIGCONT))


def revoked_at_once(at: Surroundings, target: str) -> Steps:
    """The key is rotated, and the old one refused by ChangeNow at the same moment."""
    try:
        while True:
            at.ledger.rotate(target, revoke=True)
            for _ in range(4):
                yield
    finally:
        # A worker that no request came to meanwhile, and then no source, has nothing but its old key.
        at.ledger.reinstate()


def _until_closed(heal: Callable[[], object]) -> Steps:
    try:
        while True:
            yield
    finally:
        heal()


URL, QUEUE, KEY = "PGP_SPLIT1_URL", "PGP_SPLIT1_RESPONSE_QUEUE", "CHANGENOW_API_KEY"

#: FAILED_PRECONDITION is no failure but a statement on a version, and believed: a source that makes it
#: falsely, of `latest` and then of the number, has the version taken back.
FAILURES = [code for code in CODES if code != "FAILED_PRECONDITION"]

#: The matrix. First what says something of versions: it counts on readers that are up to date.
#: What needs a clock of its own (jumps) is in tests/faults/ only.
MATRIX = (
    Row("nothing", nothing, URL),
    Row("wrong checksum", wrong_checksum, URL),
    Row("wrong type", wrong_type, "ALERTING_ENABLED"),
    Row("any bytes", any_bytes, URL),
    Row("newest disabled", newest_disabled, QUEUE),
    Row("latest lags", latest_lags, QUEUE),
    Row("key revoked at its rotation", revoked_at_once, KEY),
    Row("source down", source_down, URL),
    Row("source down and up", source_down_and_up, URL),
    *(Row(f"30 % {code}", errors(code), URL) for code in FAILURES),
    Row("5 s of latency", latency, QUEUE),
    Row("quota exceeded", quota_exceeded, KEY),
    Row("access revoked", access_revoked, "LOG_LEVEL"),
    Row("a worker frozen", frozen, URL),
)
