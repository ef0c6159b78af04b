"""What a service is asked, and what the requests are made of.

A request is made anew for each call, so that no task has the name of one before it. Where a request is signed
with a key, or addressed to a name, that rotates, it says so: that the service takes it shows that it has that version.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from pgp_services.rotate_all.effects import Done
from pgp_services.tokens import sign

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgp_services.names import Service
    from pgp_services.stage.local_fleet import LocalFleet
    from pgp_services.tokens import Claims

#: Numbers that no two requests of a run share.
_numbers = count(1)

#: The static keys that requests are signed with.
SUCCESS, PAYOUT, LOGIN = "SUCCESS_URL_SIGNING_KEY", "TPS_HOSTPAY_SIGNING_KEY", "JWT_SECRET_KEY"

#: A wallet that is nobody's.
WALLET = "0x52908400098527886E0F7030069857D2E4169EE7"


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent.

    Attributes:
        path: Where to.
        body: JSON.
        method: The HTTP method.
        headers: Headers besides the content's type.
    """

    path: str
    body: bytes = field(default=b"", repr=False)
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Written:
    """What somebody writes to the bot: whoever polls Telegram gets it.

    Attributes:
        text: The message; it may hold a token.
    """

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Exercise:
    """A request that a service answers at any time.

    Attributes:
        name: What it is.
        make: Makes it, by the state of the fleet.
        proof: The dynamic secret whose version it carries: a key that it is signed with, a name that it is
            addressed to.
        back: How many versions before the newest that is, 0 or more.
        signed: The static key that it is signed with.
    """

    name: str
    make: Callable[[Craft], Request | Written]
    proof: str = ""
    back: int = 0
    signed: str = ""


class Craft:
    """What requests are made of: the values that are in force, and numbers that nobody else has.

    Args:
        fleet: The services, and what they call.
        key: The secret that the request is signed with, or addressed by, if any.
        version: Which version of it, 1 or more.
        renewed: Whether static keys are those of now, and not those that the services were started with.
    """

    def __init__(
        self, fleet: LocalFleet, key: str = "", version: int = 1, *, renewed: bool = False
    ) -> None:
        self.fleet = fleet
        self.version = version
        self.renewed = renewed
        self.value = SecretStr(fleet.values.of(key, version) if key else "")
        self.number = next(_numbers)
        self.now = int(time.time())

    def token(self, claims: Claims) -> bytes:
        """A body with a token, signed with the key."""
        return json.dumps({"token": sign(claims, self.value)}).encode()

    def newest(self, name: str) -> str:
        """The newest value of another secret."""
        return self.fleet.values.of(name)

    def exchange(self) -> str:
        """The id of an exchange that ChangeNow has, and nobody has paid for."""
        return self.fleet.changenow.open_exchange()

    def wallet(self) -> str:
        """The address of the host wallet."""
        name = "HOST_WALLET_PRIVATE_KEY"
        return self.fleet.wallet(self.fleet.values.newest(name) if self.renewed else 1)

    def nonce(self) -> int:
        """How many transactions of the host wallet are mined."""
        return self.fleet.ethereum.chain.nonce(self.wallet(), with_pool=False)

    def identity(self, **changes: object) -> dict[str, Any]:
        """Whose payment it is: one ETH that came in, to be paid out at once."""
        return {
            "user_id": self.number,
            "closed_channel_id": -100_000_000_000 - self.number,
            "wallet_address": WALLET,
            "payout_currency": "xmr",
            "payout_network": "xmr",
            "swap_currency": "eth",
            "payout_mode": "instant",
            "actual_eth_amount": "1",
            "timestamp": self.now,
            **changes,
        }


def perform(
    exercise: Exercise, service: Service, fleet: LocalFleet, *, renewed: bool = False
) -> Done | None:
    """Send a service a request, and note what it answers; None where it is written to through Telegram.

    Args:
        exercise: The request.
        service: Who is asked.
        fleet: Where it is.
        renewed: Whether a request that is signed with a static key has the newest version of it, which the
            service does not know; else it has the first.
    """
    key = exercise.proof or exercise.signed
    version = _version(exercise, fleet, renewed=renewed)
    craft = Craft(fleet, key, version, renewed=renewed)
    request = exercise.make(craft)
    if isinstance(request, Written):
        fleet.telegram.receive(request.text, chat_id=craft.number, user_id=craft.number)
        return None
    began = time.monotonic()
    reply = fleet.call(
        service, request.path, request.body, method=request.method, headers=request.headers
    )
    return Done(exercise.name, key, version, reply.status, reply.body, began, reply.at)


def _version(exercise: Exercise, fleet: LocalFleet, *, renewed: bool) -> int:
    if exercise.proof:
        return max(1, fleet.values.newest(exercise.proof) - exercise.back)
    return fleet.values.newest(exercise.signed) if renewed else 1
