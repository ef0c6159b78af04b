"""What SERVER takes on somebody's word, signed with TPS_HOSTPAY_SIGNING_KEY: who may order what is in rows that it has not."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from pgp_services.messages import Broadcast
from pgp_services.tokens import Amount, ChatId, Claims, Id, Ticker


class BroadcastOrder(Broadcast, Claims):
    """`/broadcast TOKEN`: have this written to these chats; the same token does it once."""

    kind: ClassVar[str] = "server.broadcast"


class ScheduleOrder(Broadcast, Claims):
    """`/schedule TOKEN`: have this written to these chats later; the same token does it once.

    Attributes:
        at: When, in whole seconds of Unix time.
    """

    kind: ClassVar[str] = "server.schedule"

    at: int


class PayoutNotice(Claims):
    """`/webhooks/payout`: this has been paid out.

    Attributes:
        payout_id: What the payout is called.
        user_id: The payer's Telegram id.
        amount: How much; more than 0.
        currency: In what.
    """

    kind: ClassVar[str] = "server.payout-notice"

    payout_id: Id
    user_id: ChatId
    amount: Annotated[Amount, Field(gt=0)]
    currency: Ticker
