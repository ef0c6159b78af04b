"""What PGP_HOSTPAY2_v1 does with a request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgp_services.serving.routes import Route
from pgp_services.task_handler import TaskHandler, handed_on
from pgp_services.tokens import OpenExchange, StatusReport, StatusRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from pgp_services.clients.changenow import ChangeNowClient
    from pgp_services.clients.cloud_tasks import Target, TasksClient
    from pgp_services.provided import Provided
    from pgp_services.serving.answers import Answer
    from pgp_services.serving.routes import Call

#: Where HOSTPAY1 takes reports.
REPORT_PATH = "/status-verified"


class HostPay2Handler(TaskHandler):
    """Handles `POST /`.

    Args:
        signing_key: The secret SUCCESS_URL_SIGNING_KEY.
        changenow: Tells how an exchange is.
        tasks: Creates tasks.
        hostpay1: Where reports go.
        clock: Unix time in seconds; a test gives its own.
    """

    def __init__(
        self,
        *,
        signing_key: Provided[SecretStr],
        changenow: ChangeNowClient,
        tasks: TasksClient,
        hostpay1: Target,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(tasks, changenow, clock=clock)
        self._signing_key = signing_key
        self._changenow = changenow
        self._hostpay1 = hostpay1

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [Route("/", self.report)]

    def report(self, call: Call) -> Answer:
        """Ask ChangeNow, and tell HOSTPAY1: once for each payout, whatever ChangeNow says the next time."""
        key = self._signing_key()
        request = self.claims_in(StatusRequest, call, key)
        status = self._changenow.status(request.exchange_id).status
        report = StatusReport(
            **request.model_dump(include=set(OpenExchange.model_fields)),
            status=status,
            timestamp=self.now(),
        )
        name = f"{request.payout_id}-report"
        task = self.hand_on(self._hostpay1, name, REPORT_PATH, report, key)
        return handed_on(f"The exchange is {status}", task)
