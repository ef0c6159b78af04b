"""Which version of a secret a service used, and when: read from its effects, never from what it says of itself."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from pydantic import SecretStr

from pgp_services.catalogue import CATALOGUE
from pgp_services.failures import ServiceFailure
from pgp_services.rotate_all.effects import origin_of
from pgp_services.serving.bodies import token_in
from pgp_services.tokens import Claims, EstimateRequest, ReservedPayment, plain, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pgp_services.rotate_all.effects import Effects
    from pgp_services.stage.values import Values

C = TypeVar("C", bound=Claims)


@dataclass(frozen=True, slots=True)
class Use:
    """A version of a secret, in use.

    Attributes:
        version: 1 or more.
        at: When, in monotonic seconds.
    """

    version: int
    at: float


if TYPE_CHECKING:
    #: The uses of one secret that effects show.
    Evidence = Callable[[Effects, str, Values], Iterable[Use]]

#: Seconds by which the times of log lines may be off: they have milliseconds, of another clock.
_BLUR = 0.005

#: URLs in a page or in JSON.
_URL = re.compile(r"https://[a-z0-9.-]+")

#: Links to a bot.
_BOT_LINK = re.compile(r"https://t\.me/([A-Za-z0-9_]+)")

#: How the services' lines name where they run.
_LABEL = re.compile(r"PGP_\w+ \((\w+)\) answered ")

#: How they tell of a failure that is not the caller's.
_FAILURE = re.compile(r"PGP_\w+ \(\w+\) answered 5\d\d: ")


def by_queue(effects: Effects, name: str, values: Values) -> Iterator[Use]:
    """A task in the queue."""
    for task in effects.tasks:
        yield Use(values.version(name, task.queue), task.at)


def by_paying_queue(effects: Effects, name: str, values: Values) -> Iterator[Use]:
    """A task in the queue; or a payment that was reserved, whose further tasks are to be there."""
    yield from by_queue(effects, name, values)
    key = SecretStr(values.of("SUCCESS_URL_SIGNING_KEY", 1))
    for task in effects.tasks:
        reserved = token_of(ReservedPayment, task.body, key)
        if reserved is not None:
            yield Use(values.version(name, reserved.queue), task.at)


def by_host(effects: Effects, name: str, values: Values) -> Iterator[Use]:
    """A call that came to the host, or a page that names it."""
    for arrival in effects.arrivals:
        yield Use(values.version(name, arrival.origin), arrival.at)
    for done in effects.done:
        for url in _URL.findall(done.body.decode(errors="replace")):
            yield Use(values.version(name, origin_of(url)), done.at)


def by_key_at(party: str) -> Evidence:
    """A call that carried the key, and was taken by the other side."""

    def read(effects: Effects, _: str, __: Values) -> Iterator[Use]:
        for seen in effects.seen.get(party, ()):
            if 200 <= seen.status < 300:  # noqa: PLR2004  HTTP's success
                yield Use(seen.version, seen.at)

    return read


def by_acceptance(effects: Effects, name: str, _: Values) -> Iterator[Use]:
    """A request signed with a version of the key, or addressed to a version of the name, that was taken."""
    for done in effects.done:
        if done.proof == name and done.status == 200:  # noqa: PLR2004  HTTP's success
            yield Use(done.version, done.at)


def by_bot_name(effects: Effects, name: str, values: Values) -> Iterator[Use]:
    """A message, or an invoice, that links to the bot by its name."""
    for seen in chain(effects.seen.get("telegram", ()), effects.seen.get("nowpayments", ())):
        for found in _BOT_LINK.finditer(seen.body.decode(errors="replace")):
            yield Use(values.version(name, found[1]), seen.at)


def by_sum(effects: Effects, name: str, values: Values) -> Iterator[Use]:
    """An amount that has the fee taken off, of a payment that came in with it."""
    key = SecretStr(values.of("SUCCESS_URL_SIGNING_KEY", 1))
    for task in effects.tasks:
        asked = token_of(EstimateRequest, task.body, key)
        if asked is not None:
            fee = 100 * (1 - asked.adjusted_amount / asked.actual_eth_amount)
            yield Use(values.version(name, plain(fee.normalize())), task.at)


def token_of(kind: type[C], body: bytes, key: SecretStr) -> C | None:
    """The claims of the token in a task's body; None if there is none of that kind, signed with that key."""
    try:
        return verify(kind, token_in(body), key, time.time())
    except ServiceFailure:
        return None


def by_label(effects: Effects, name: str, values: Values) -> Iterator[Use]:
    """A line that names where the service runs."""
    for line in effects.lines:
        found = _LABEL.match(line.text)
        if found:
            yield Use(values.version(name, found[1]), line.at)


def by_level(effects: Effects, name: str, values: Values) -> Iterator[Use]:
    """A request that the log has a line of, or has none of."""
    lines = [line.at for line in effects.lines if line.level == "INFO"]
    for done in effects.done:
        told = any(done.began - _BLUR <= at <= done.at + _BLUR for at in lines)
        yield Use(values.version(name, "INFO" if told else "WARNING"), done.at)


def failures(effects: Effects) -> int:
    """How many requests and updates a service failed, by its log (5xx) and by its answers (all others but 401).

    401 may be right: a request that is signed with a new key may be ahead of the service.
    """
    told = sum(_FAILURE.match(line.text) is not None for line in effects.lines)
    refused = sum(done.status not in (200, 401) and done.status < 500 for done in effects.done)  # noqa: PLR2004  HTTP
    return told + refused


def by_alert(effects: Effects, name: str, values: Values) -> Iterator[Use]:
    """Slack is told, and the log has an error; or a failure is a warning only."""
    told = min((alert.at for alert in effects.alerts), default=None)
    for line in effects.lines:
        if _FAILURE.match(line.text) is None:
            continue
        if line.level == "WARNING":
            yield Use(values.version(name, "false"), line.at)
        elif told is not None:
            yield Use(values.version(name, "true"), max(line.at, told))


_BY_NAME: dict[str, Evidence] = {
    "CHANGENOW_API_KEY": by_key_at("changenow"),
    "NOWPAYMENTS_API_KEY": by_key_at("nowpayments"),
    "ETHEREUM_RPC_URL_API": by_key_at("ethereum"),
    "TELEGRAM_BOT_API_TOKEN": by_key_at("telegram"),
    "TELEGRAM_BOT_USERNAME": by_bot_name,
    "NOWPAYMENTS_IPN_SECRET": by_acceptance,
    "SUCCESS_URL_SIGNING_KEY_SECONDARY": by_acceptance,
    "TPS_HOSTPAY_SIGNING_KEY_SECONDARY": by_acceptance,
    "CLOUDFLARE_WEBHOOK_SECRET": by_acceptance,
    "TP_FLAT_FEE": by_sum,
    "PGP_HOSTPAY3_QUEUE": by_paying_queue,
    "SERVICE_ENVIRONMENT": by_label,
    "ALERTING_ENABLED": by_alert,
    "LOG_LEVEL": by_level,
}

_BY_KIND: dict[str, Evidence] = {"queue id": by_queue, "https url": by_host}


def uses(name: str, effects: Effects, values: Values) -> list[Use]:
    """When which version of a secret was used, by a service's effects; in the order of time.

    Args:
        name: The secret.
        effects: What the service did.
        values: Tells versions by their values.
    """
    evidence = _BY_NAME.get(name) or _BY_KIND[CATALOGUE[name].kind]
    found = [use for use in evidence(effects, name, values) if use.version]
    return sorted(found, key=lambda use: use.at)
