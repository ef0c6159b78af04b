"""The fleet, or a part of it, on 127.0.0.1: started, called, rotated and stopped."""

from __future__ import annotations

import http.client
import json
import secrets as random_secrets
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import urlsplit

from pgp_config.emulator import SecretManagerEmulator
from pgp_services import catalogue
from pgp_services.clients.accounts import Account
from pgp_services.lookalikes.changenow import ChangeNowServer
from pgp_services.lookalikes.cloud_tasks import CloudTasksServer
from pgp_services.lookalikes.ethereum import EthereumServer
from pgp_services.lookalikes.gateway import Gateway
from pgp_services.lookalikes.hosts import HostsServer
from pgp_services.lookalikes.nowpayments import NowPaymentsServer
from pgp_services.lookalikes.routes import Routes
from pgp_services.lookalikes.slack import SlackServer
from pgp_services.lookalikes.telegram import TelegramServer
from pgp_services.names import Service
from pgp_services.stage import environ
from pgp_services.stage.processes import ServiceProcess
from pgp_services.stage.values import Values, first_values

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pgp_services.lookalikes.http import LocalServer

#: Services that are started at a time: each needs a processor for a second or two.
AT_A_TIME = 3

#: Seconds that a call to a service may take, and the size of its answer in bytes.
CALL_PATIENCE = 40.0


#: What the host wallet has, in wei.
WEALTH = 10**24


@dataclass(frozen=True, slots=True)
class Reply:
    """A service's answer.

    Attributes:
        status: The HTTP status; 0 if there was none.
        body: The answer's body.
        at: When it came, in monotonic seconds.
    """

    status: int
    body: bytes = field(repr=False)
    at: float

    @property
    def is_ok(self) -> bool:
        """Whether the service did what was asked."""
        return self.status == HTTPStatus.OK

    def content(self) -> dict[str, object]:
        """The body's JSON object; empty if it is none."""
        try:
            content = json.loads(self.body)
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}


class LocalFleet:
    """Services in processes of their own, and all that they call; everything ends with the `with` block.

    Args:
        services: Which of them; all by default.
        max_age: Seconds after which they see a new version at the latest.
        hosts: Who answers for the hosts that the URLs name: `services`, those of them that run, so that a task
            goes on to the next service; or `noted`, a stand-in that takes and notes every call.
        first: First values of secrets, in place of those that are made.
        more: Environment variables of every service besides.

    Attributes:
        values: The secrets' values, by version.
        manager: The local Secret Manager; it knows each service as a caller by its name.
        changenow, nowpayments, telegram, ethereum, slack, tasks, gateway: The stand-ins.
        noted: What stands in for hosts that no service answers for.
        routes: Which port answers for which host.
        services: The processes.
        started_in: Seconds that the start of all services took.
    """

    def __init__(
        self,
        services: Collection[Service] = tuple(Service),
        *,
        max_age: float = 1.0,
        hosts: Literal["services", "noted"] = "services",
        first: Mapping[str, str] | None = None,
        more: Mapping[str, str] | None = None,
    ) -> None:
        self.values = Values({**first_values(Service), **(first or {})})
        self.services: dict[Service, ServiceProcess] = {}
        self.started_in = 0.0
        self._wanted = list(services)
        self._max_age = max_age
        self._hosts = hosts
        self._more = more or {}
        self._exit = ExitStack()

    def __repr__(self) -> str:
        return f"<LocalFleet of {len(self.services)} services>"

    # -- start and end -----------------------------------------------------------------------

    def __enter__(self) -> Self:
        with ExitStack() as started:
            self._folder = Path(started.enter_context(tempfile.TemporaryDirectory()))
            self._start_surroundings(started)
            started.callback(self._stop_services)
            began = time.monotonic()
            with ThreadPoolExecutor(AT_A_TIME) as pool:
                list(pool.map(self._start, self._wanted))
            # In the order that was asked for, not in that of the threads.
            self.services = {service: self.services[service] for service in self._wanted}
            self.started_in = time.monotonic() - began
            self._exit = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def _start_surroundings(self, started: ExitStack) -> None:
        value = self.values.of
        self.manager = started.enter_context(SecretManagerEmulator(environ.PROJECT))
        for name in self.values.names():
            self.manager.add(name, value(name))
        self.changenow = started.enter_context(ChangeNowServer(value("CHANGENOW_API_KEY")))
        self.nowpayments = started.enter_context(
            NowPaymentsServer(value("NOWPAYMENTS_API_KEY"), value("NOWPAYMENTS_IPN_SECRET"))
        )
        self.telegram = started.enter_context(TelegramServer(value("TELEGRAM_BOT_API_TOKEN")))
        self.ethereum = started.enter_context(
            EthereumServer(value("ETHEREUM_RPC_URL_API"), mines_at_once=True)
        )
        self.ethereum.fund(self.wallet(), WEALTH)
        self.slack = started.enter_context(SlackServer(key := random_secrets.token_hex(12)))
        self.manager.add(environ.SLACK_WEBHOOK, self.slack.webhook(key))
        self.noted = started.enter_context(HostsServer())
        self.routes = Routes()
        for name in environ.url_secrets():
            self._route(name)
        self.tasks = started.enter_context(CloudTasksServer(routes=self.routes))
        self.gateway = started.enter_context(Gateway(self.routes))

    def _start(self, service: Service) -> None:
        process = ServiceProcess(service, self.environ_of(service), self._folder)
        self.services[service] = process
        process.wait_until_ready()
        for name in environ.url_secrets():
            self._route(name)

    def _stop_services(self) -> None:
        """All at once: each may take its time for the requests at hand."""
        for process in self.services.values():
            process.end()
        for process in self.services.values():
            process.stop()

    def restart(self, service: Service) -> None:
        """End a service, and start it anew on another port."""
        self.services[service].stop()
        self._start(service)

    # -- what a service is told --------------------------------------------------------------

    def environ_of(self, service: Service) -> dict[str, str]:
        """The environment variables of a service, besides those of this process."""
        return {
            "PGP_CONFIG_SOURCE": environ.source_of(service, self.manager.endpoint),
            "PGP_CONFIG_MAX_AGE": str(self._max_age),
            "PGP_CONFIG_SERVICE": service,
            "ALERTS_SOURCE": environ.source_of(service, self.manager.endpoint),
            "CLOUD_TASKS_ENDPOINT": self.tasks.endpoint,
            "TASKS_SERVICE_ACCOUNT": environ.account_of(service),
            "LOCAL_GATEWAY": self._gateway_for(service),
            "GOOGLE_CLOUD_PROJECT": environ.PROJECT,
            "GOOGLE_CLOUD_REGION": "us-central1",
            "CHANGENOW_BASE_URL": environ.door_for(
                self.changenow, service, catalogue.CHANGENOW_API_KEY
            ),
            "NOWPAYMENTS_BASE_URL": environ.door_for(
                self.nowpayments, service, catalogue.NOWPAYMENTS_API_KEY
            ),
            "TELEGRAM_BASE_URL": environ.door_for(
                self.telegram, service, catalogue.TELEGRAM_BOT_API_TOKEN
            ),
            "ETHEREUM_BASE_URL": environ.door_for(
                self.ethereum, service, catalogue.ETHEREUM_RPC_URL_API
            ),
            **self._more,
        }

    def _gateway_for(self, service: Service) -> str:
        """Through what it calls others; where that is only noted, through a door of its own."""
        return self.noted.door(service) if self._hosts == "noted" else self.gateway.url

    # -- where hosts are ---------------------------------------------------------------------

    def _route(self, name: str) -> None:
        """Have a URL's host answered, in each of its versions so far."""
        process = self.services.get(service) if (service := environ.served_by(name)) else None
        here = self._hosts == "services" and process is not None and process.port
        local = f"http://127.0.0.1:{process.port}" if process and here else self.noted.url
        for version in range(1, self.values.newest(name) + 1):
            self.routes.add(urlsplit(self.values.of(name, version)).netloc, local)

    # -- what is done to it ------------------------------------------------------------------

    def rotate(self, name: str) -> int:
        """Give a secret a new version; who is on the other side of a key takes both from that moment on.

        Returns:
            The version's number.
        """
        value = self.values.renewed(name)
        if name in environ.url_secrets():
            self._route(name)
        self._rotated_outside(name, value)
        return self.manager.add(name, value)

    def _rotated_outside(self, name: str, value: str) -> None:
        """Those who are called take the new key before anybody has it."""
        takes: dict[str, Callable[[], object]] = {
            "HOST_WALLET_PRIVATE_KEY": lambda: self.ethereum.fund(self.wallet(0), WEALTH),
            "CHANGENOW_API_KEY": lambda: self.changenow.rotate(value, overlap=True),
            "NOWPAYMENTS_API_KEY": lambda: self.nowpayments.rotate(value, overlap=True),
            "TELEGRAM_BOT_API_TOKEN": lambda: self.telegram.rotate(value, overlap=True),
            "ETHEREUM_RPC_URL_API": lambda: self.ethereum.rotate(value, overlap=True),
            "NOWPAYMENTS_IPN_SECRET": lambda: self.nowpayments.rotate_ipn_key(value),
        }
        takes.get(name, _nothing)()

    def key_holders(self) -> dict[str, LocalServer]:
        """The stand-ins that a key is needed for, by name."""
        return {
            "changenow": self.changenow,
            "nowpayments": self.nowpayments,
            "telegram": self.telegram,
            "ethereum": self.ethereum,
        }

    def wallet(self, version: int = 1) -> str:
        """The address of the host wallet, with a version of its key; 0 for the newest."""
        key = self.values.of("HOST_WALLET_PRIVATE_KEY", version)
        return str(Account.from_key(key).address)

    # -- what is asked of it -----------------------------------------------------------------

    def call(
        self,
        service: Service,
        path: str,
        body: bytes = b"",
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a service a request; a body is JSON unless a header says otherwise."""
        port = self.services[service].port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CALL_PATIENCE)
        try:
            sent = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, path, body or None, sent)
            response = connection.getresponse()
            return Reply(response.status, response.read(), time.monotonic())
        except (OSError, http.client.HTTPException):
            return Reply(0, b"", time.monotonic())
        finally:
            connection.close()

    def versions(self, service: Service) -> dict[str, int]:
        """The version that a service has of each secret that it has read, as `/readyz` tells."""
        rows = self.call(service, "/readyz", method="GET").content().get("secrets", [])
        assert isinstance(rows, list)  # noqa: S101  pgp_config.health
        return {row["name"]: row["version"] for row in rows if row["version"] is not None}

    def process_ids(self) -> dict[Service, frozenset[int]]:
        """The processes of each service."""
        return {service: process.process_ids() for service, process in self.services.items()}

    def log_of(self, service: Service) -> str:
        """What a service has logged since its last start."""
        return self.services[service].log.read_text(errors="replace")


def _nothing() -> None:
    """Nobody outside has the secret."""
