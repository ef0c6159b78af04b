"""Which container, which framework and which loop each service has; a container is imported when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, cast

from dependency_injector import providers

from pgp_config import Memory
from pgp_services.names import Service
from pgp_services.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgp_services.fleet import Fleet
    from pgp_services.serving.routes import Handler, Route


@dataclass(frozen=True, slots=True)
class Entry:
    """How a service is run.

    Attributes:
        container: Its container class, as `module:name`.
        framework: What its application is made with.
        updates: Whether it can run a loop over Telegram's updates, and whether it does so unless the
            setting TELEGRAM_UPDATES says otherwise; None where it cannot.
    """

    container: str
    framework: Literal["flask", "fastapi"] = "flask"
    updates: Literal["poll", "off"] | None = None


REGISTRY: dict[Service, Entry] = {
    Service.SPLIT2: Entry("pgp_services.split2.container:Split2"),
    Service.SERVER: Entry("pgp_services.server.container:Server", updates="poll"),
    Service.NOTIFICATIONS: Entry("pgp_services.notifications.container:Notifications"),
    Service.INVITE: Entry("pgp_services.invite.container:Invite"),
    Service.BROADCAST: Entry("pgp_services.broadcast.container:Broadcast"),
    Service.SPLIT1: Entry("pgp_services.split1.container:Split1"),
    Service.ACCUMULATOR: Entry("pgp_services.accumulator.container:Accumulator"),
    Service.BATCHPROCESSOR: Entry("pgp_services.batchprocessor.container:BatchProcessor"),
    Service.ORCHESTRATOR: Entry("pgp_services.orchestrator.container:Orchestrator"),
    Service.MICROBATCHPROCESSOR: Entry(
        "pgp_services.microbatchprocessor.container:MicroBatchProcessor"
    ),
    Service.HOSTPAY1: Entry("pgp_services.hostpay1.container:HostPay1"),
    Service.HOSTPAY2: Entry("pgp_services.hostpay2.container:HostPay2"),
    Service.HOSTPAY3: Entry("pgp_services.hostpay3.container:HostPay3"),
    Service.NP_IPN: Entry("pgp_services.np_ipn.container:NpIpn"),
    Service.WEBAPI: Entry("pgp_services.webapi.container:WebApi", framework="fastapi"),
    Service.WEB: Entry("pgp_services.web.container:Web"),
    Service.BOTCOMMAND: Entry("pgp_services.botcommand.container:BotCommand", updates="off"),
}


def container_of(service: Service) -> type[Fleet]:
    """A service's container class."""
    module, _, name = REGISTRY[service].container.partition(":")
    return cast("type[Fleet]", getattr(import_module(module), name))


def deployed(service: Service) -> Fleet:
    """The container of a deployed service, by its environment variables; logs go to stderr.

    Raises:
        DeclarationError: If PGP_CONFIG_SOURCE is not set or names no source.
    """
    return container_of(service).deployed(service)


def handler_of(secrets: Fleet) -> Handler:
    """The handler of a service's container."""
    container: Any = secrets  # each has one; dependency_injector's types do not say so
    return cast("Handler", container.handler())


def routes_of(service: Service) -> Sequence[Route]:
    """What a service answers to, besides its health pages; needs no secret and no setting."""
    settings = Settings(service_account="none", google_project="none", google_region="none")
    secrets = container_of(service)(source=Memory({}), settings=providers.Object(settings))
    try:
        return handler_of(secrets).routes()
    finally:
        secrets.close()


def polls(service: Service, settings: Settings) -> bool:
    """Whether a service asks Telegram for updates: by the setting, else as is usual for it."""
    usual = REGISTRY[service].updates
    return usual is not None and (settings.telegram_updates or usual) == "poll"
