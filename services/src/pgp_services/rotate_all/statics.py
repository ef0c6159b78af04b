"""Static secrets after a rotation in the source: a running service goes on with the version that it was started with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import SecretStr

from pgp_services.clients.accounts import Account
from pgp_services.rotate_all.evidence import token_of
from pgp_services.tokens import Claims

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgp_services.names import Service
    from pgp_services.rotate_all.effects import Done, Effects
    from pgp_services.stage.values import Values

#: Those that are rotated: the three keys and the database's password.
ROTATED = (
    "HOST_WALLET_PRIVATE_KEY",
    "SUCCESS_URL_SIGNING_KEY",
    "TPS_HOSTPAY_SIGNING_KEY",
    "DATABASE_PASSWORD_SECRET",
)

#: What shows which version of a static secret a service uses.
READY, ACCEPTS, REFUSES, SIGNS, PAYS = "readyz", "accepts old", "refuses new", "signs", "pays"

_OK, _UNAUTHORIZED = 200, 401


@dataclass(frozen=True, slots=True)
class Kept:
    """Whether a service goes on with the old version of a static secret.

    Attributes:
        secret: Its name.
        service: Which service.
        shown: Whether each thing that shows it shows the old version, by the thing.
    """

    secret: str
    service: Service
    shown: dict[str, bool]

    @property
    def is_kept(self) -> bool:
        """Whether all that shows it shows the old version."""
        return all(self.shown.values())

    @property
    def is_seen(self) -> bool:
        """Whether it shows in what the service does, and not only in what it says of itself."""
        return set(self.shown) != {READY}


def kinds(base: type[Claims] = Claims) -> Iterator[type[Claims]]:
    """All kinds of tokens."""
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


def signed_with(body: bytes, name: str, values: Values) -> int:
    """The version of a signing key that the token in a task carries; 0 for none of them."""
    for version in range(1, values.newest(name) + 1):
        key = SecretStr(values.of(name, version))
        if any(token_of(kind, body, key) is not None for kind in kinds()):
            return version
    return 0


def signatures(name: str, effects: Effects, values: Values, since: float) -> list[int]:
    """The versions of a signing key on the tasks that a service made since then."""
    found = [signed_with(task.body, name, values) for task in effects.tasks if task.at >= since]
    return [version for version in found if version]


def answers(done: Sequence[Done], name: str, version: int, since: float) -> list[int]:
    """How a service answered the requests since then that were signed with a version of a key."""
    return [d.status for d in done if (d.proof, d.version) == (name, version) and d.at >= since]


def payers(effects: Effects, values: Values, since: float) -> list[int]:
    """The versions of the wallet's key that a service has signed transactions with since then; 0 for another key."""
    name = "HOST_WALLET_PRIVATE_KEY"
    versions = range(1, values.newest(name) + 1)
    wallets = {Account.from_key(values.of(name, v)).address: v for v in versions}
    return [
        wallets.get(Account.recover_transaction(raw), 0)
        for seen in effects.seen.get("ethereum", ())
        if seen.at >= since and (raw := _raw_transaction(seen.body))
    ]


def _raw_transaction(body: bytes) -> str | None:
    call = json.loads(body)
    return call["params"][0] if call["method"] == "eth_sendRawTransaction" else None


def kept(
    name: str, service: Service, effects: Effects, values: Values, *, since: float, ready: int
) -> Kept:
    """Whether a service goes on with the first version of a static secret.

    Args:
        name: The secret, rotated in the source.
        service: Which service.
        effects: What it did.
        values: The versions' values.
        since: From which moment on effects count, in monotonic seconds.
        ready: The version that it says it has.
    """
    shown = {READY: ready == 1}
    signed = signatures(name, effects, values, since)
    old = answers(effects.done, name, 1, since)
    new = answers(effects.done, name, values.newest(name), since)
    paid = payers(effects, values, since) if name == "HOST_WALLET_PRIVATE_KEY" else []
    if signed:
        shown[SIGNS] = set(signed) == {1}
    if paid:
        shown[PAYS] = set(paid) == {1}
    if old:
        shown[ACCEPTS] = set(old) == {_OK}
    if new:
        shown[REFUSES] = set(new) == {_UNAUTHORIZED}
    return Kept(name, service, shown)
