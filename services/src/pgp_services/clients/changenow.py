"""ChangeNow v2: what an amount is worth, asked with the key that is current at each attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from pgp_services.clients.base import Addressed, Ask, HttpClient, Party
from pgp_services.clients.connections import base_of
from pgp_services.clients.outcomes import Number  # noqa: TC001  pydantic evaluates it
from pgp_services.clients.retries import RetryPolicy
from pgp_services.failures import Refused, Unavailable
from pgp_services.tokens import plain

if TYPE_CHECKING:
    from decimal import Decimal

    from pydantic import SecretStr

    from pgp_config import Rotating
    from pgp_services.clients.outcomes import M

API = "https://api.changenow.io"

#: Bounds of one call. At the very worst a request takes 24 s of the 30 s that gunicorn gives it:
#: six reads of secrets and a refresh that all wait their full 2 s, this budget (in which the read of the
#: key is included), and the 4 s of the task.
POLICY = RetryPolicy(budget=8.0, attempt=3.0)


class ChangeNowRefused(Refused):
    """ChangeNow refuses the request or the key, or answers nonsense."""


class ChangeNowUnavailable(Unavailable):
    """ChangeNow does not answer within the budget."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What is to be swapped for what.

    Attributes:
        from_currency: What is swapped, as ChangeNow names it, on the network `eth`.
        to_currency: What is paid out.
        to_network: On what network.
        amount: How much is swapped, in `from_currency`; more than 0.
    """

    from_currency: str
    to_currency: str
    to_network: str
    amount: Decimal

    def query(self) -> dict[str, str]:
        """The request's query, as ChangeNow's v2 API takes it."""
        return {
            "fromCurrency": self.from_currency.lower(),
            "toCurrency": self.to_currency.lower(),
            "fromNetwork": "eth",
            "toNetwork": self.to_network.lower(),
            "fromAmount": plain(self.amount),
            "flow": "standard",
            "type": "direct",
        }


class Estimate(BaseModel):
    """What ChangeNow would pay out.

    Attributes:
        from_amount: What it would take; more than 0.
        to_amount: What it would pay out, fees taken off; more than 0.
        deposit_fee: Its fee on the way in.
        withdrawal_fee: Its fee on the way out.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    from_amount: Annotated[Number, Field(alias="fromAmount", gt=0)]
    to_amount: Annotated[Number, Field(alias="toAmount", gt=0)]
    deposit_fee: Annotated[Number, Field(alias="depositFee")]
    withdrawal_fee: Annotated[Number, Field(alias="withdrawalFee")]


class ChangeNowClient(HttpClient["SecretStr"]):
    """Asks ChangeNow; usable from threads and from coroutines.

    Args:
        api_key: The secret, not its value.
        base_url: `https://` and a host; plain http for a local server on the loopback only.
        policy: The bounds of one call with all its attempts.
        previous_key: As `HttpClient` says.
        key_patience: As `HttpClient` says.

    Raises:
        DeclarationError: If the base URL is of another kind.
    """

    party = Party("ChangeNow", ChangeNowRefused, ChangeNowUnavailable)

    def __init__(
        self,
        api_key: Rotating[SecretStr],
        base_url: str = API,
        policy: RetryPolicy = POLICY,
        *,
        previous_key: bool = False,
        key_patience: float = 0.0,
    ) -> None:
        base = base_of(base_url)
        del base_url  # it may hold a password, and a traceback's locals are logged
        super().__init__(
            api_key, base, policy, previous_key=previous_key, key_patience=key_patience
        )

    def addressed(self, ask: Ask[M], key: SecretStr) -> Addressed:
        """The key is a header of each request."""
        return Addressed(self.at(ask.path), {"x-changenow-api-key": key.get_secret_value()})

    def estimate(self, pair: Pair) -> Estimate:
        """What ChangeNow would pay out.

        Raises:
            ChangeNowRefused: If it refuses the request or the key, or answers nonsense.
            ChangeNowUnavailable: If it does not answer within the budget.
            PgpConfigError: If there is no key.
        """
        return self.call(_estimate(pair))

    async def estimate_async(self, pair: Pair) -> Estimate:
        """As `estimate`, from a coroutine."""
        return await self.call_async(_estimate(pair))


def _estimate(pair: Pair) -> Ask[Estimate]:
    return Ask("estimate", "GET", "/v2/exchange/estimated-amount", Estimate, query=pair.query())
