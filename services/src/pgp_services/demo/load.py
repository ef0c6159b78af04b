"""A steady load of requests, and what became of each of them; estimate requests for the pilot."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Generic, TypeVar

from pgp_services.tokens import EstimateRequest, sign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

#: Seconds that one request may take: more than the handler's own budgets together.
PATIENCE = 15.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    Attributes:
        target: The index of the service that it was sent to.
        began: Monotonic seconds.
        seconds: How long the answer took.
        status: The HTTP status; 0 if there was no answer.
    """

    target: int
    began: float
    seconds: float
    status: int


T = TypeVar("T")


class SteadyLoad(ABC, Generic[T]):
    """Sends requests at a steady rate from a few threads until it is stopped.

    Args:
        ports: Where the services listen on 127.0.0.1; requests go to them in turn.
        rate: Requests a second over all services.
        threads: How many send; each waits for its answer before it sends again.
        patience: Seconds that one request may take.

    Attributes:
        outcomes: What became of the requests so far.
    """

    def __init__(
        self, ports: Sequence[int], rate: float, threads: int, patience: float = PATIENCE
    ) -> None:
        self.outcomes: list[T] = []
        self._ports = list(ports)
        self._patience = patience
        self._pause = threads / rate
        self._numbers = itertools.count()
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._send_all, args=(index * self._pause / threads,))
            for index in range(threads)
        ]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[T]:
        """Send no more, wait for the last answers, and give all outcomes."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        return self.outcomes

    def _send_all(self, offset: float) -> None:
        connections = [
            http.client.HTTPConnection("127.0.0.1", port, self._patience) for port in self._ports
        ]
        due = time.monotonic() + offset
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            number = next(self._numbers)
            target = number % len(connections)
            self.outcomes.append(self._send(connections[target], target, number))
            # A machine that cannot keep the rate sends later, not in bursts.
            due = max(due + self._pause, time.monotonic() - self._pause)
        for connection in connections:
            connection.close()

    @abstractmethod
    def _send(self, connection: http.client.HTTPConnection, target: int, number: int) -> T:
        """Send one request; never raises for want of an answer.

        Args:
            connection: To where it goes; it may have to connect anew.
            target: The place of that port among the ports.
            number: How many were sent before.
        """


class Load(SteadyLoad[Outcome]):
    """Sends estimate requests to pilots.

    Args:
        ports: As for `SteadyLoad`.
        key: The value of SUCCESS_URL_SIGNING_KEY, to sign the tokens with.
        rate: As for `SteadyLoad`.
        threads: As for `SteadyLoad`.
    """

    def __init__(self, ports: Sequence[int], key: SecretStr, rate: float, threads: int) -> None:
        super().__init__(ports, rate, threads)
        self._key = key

    def _send(self, connection: http.client.HTTPConnection, target: int, number: int) -> Outcome:
        body = json.dumps({"token": self._token(number)})
        began, status = time.monotonic(), 0
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            status = response.status
        except (OSError, http.client.HTTPException):
            connection.close()
        return Outcome(target, began, time.monotonic() - began, status)

    def _token(self, number: int) -> str:
        claims = EstimateRequest(
            user_id=number + 1,
            closed_channel_id=-100,
            wallet_address="0x52908400098527886E0F7030069857D2E4169EE7",
            payout_currency="usdt",
            payout_network="eth",
            adjusted_amount=Decimal("0.05"),
            swap_currency="eth",
            payout_mode="instant",
            actual_eth_amount=Decimal("0.05"),
            timestamp=int(time.time()),
        )
        return sign(claims, self._key)
