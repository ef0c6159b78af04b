"""Which container, which framework and which loop each service has; a container is imported when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, cast

from pgp_services.names import Service

if TYPE_CHECKING:
    from pgp_services.fleet import Fleet
    from pgp_services.serving.routes import Handler


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
    Service.SPLIT1: Entry("pgp_services.split1.container:Split1"),
    Service.ACCUMULATOR: Entry("pgp_services.accumulator.container:Accumulator"),
    Service.BATCHPROCESSOR: Entry("pgp_services.batchprocessor.container:BatchProcessor"),
    Service.ORCHESTRATOR: Entry("pgp_services.orchestrator.container:Orchestrator"),
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
    return container_of(service).deployed()


def handler_of(secrets: Fleet) -> Handler:
    """The handler of a service's container."""
    container: Any = secrets  # each has one; dependency_injector's types do not say so
    return cast("Handler", container.handler())
