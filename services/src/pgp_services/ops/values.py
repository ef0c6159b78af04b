"""The operator's file: which project, which image, which versions of static secrets, which queues."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, StringConstraints, ValidationError
from pydantic import model_validator as validator

from pgp_services import catalogue
from pgp_services.catalogue import Location, ProjectId, QueueId  # noqa: TC001  pydantic reads them
from pgp_services.names import Service  # noqa: TC001  as above
from pgp_services.ops.failures import OpsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Who may be granted something: `user:`, `group:`, `serviceAccount:` and an address, or everybody.
Member = Annotated[
    str, StringConstraints(pattern=r"^(allUsers|(user|group|serviceAccount|domain):[^\s,]+)$")
]

#: An image as Cloud Run takes it: a path, and a tag or a digest.
Image = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-zA-Z0-9._/-]*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?$")
]


class Values(BaseModel):
    """What the catalogue does not know; nothing of it is secret.

    Attributes:
        project: The project's id.
        region: Where services, queues and the image repository are.
        repository: The image repository of Artifact Registry.
        image: The image that all services run.
        collector: The image of OpenTelemetry's collector beside each service; None for no metrics.
        pinned: The version's number of each static secret; a new number takes effect with a deployment.
        queues: The queue ids of each queue's secret: more than one while a queue is being replaced.
        invokers: Who may call a service besides the services that have its URL: a scheduler's account, say.
        operators: Who may read secrets besides the services: nobody is told of their accesses.
        replicas: Regions of the secrets; none for Google's choice.
        max_age: PGP_CONFIG_MAX_AGE, in seconds, if not the default.
        uptake: PGP_CONFIG_UPTAKE, where processes report what they use.
        ipn_url: NOWPAYMENTS_IPN_URL, where NOWPayments reports payments: the address of PGP_NP_IPN_v1.
        alerts_source: ALERTS_SOURCE, where SLACK_WEBHOOK_URL is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    project: ProjectId
    region: Location
    repository: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    image: Image
    collector: Image | None = None
    pinned: dict[str, PositiveInt]
    queues: dict[str, Annotated[list[QueueId], Field(min_length=1)]]
    invokers: dict[Service, list[Member]] = {}
    operators: list[str] = []
    replicas: list[Location] = []
    max_age: Annotated[float, Field(ge=0)] | None = None
    uptake: str | None = None
    ipn_url: str | None = None
    alerts_source: str | None = None

    @validator(mode="after")
    def _complete(self) -> Self:
        _refuse_other_names("pinned", self.pinned, _names("static"))
        _refuse_other_names("queues", self.queues, queue_secrets())
        return self


def _names(reload_class: str) -> list[str]:
    rows = catalogue.CATALOGUE.values()
    return [row.name for row in rows if row.reload_class == reload_class]


def queue_secrets() -> list[str]:
    """The secrets that name queues, in the catalogue's order."""
    return [row.name for row in catalogue.CATALOGUE.values() if row.kind == "queue id"]


def _refuse_other_names(field: str, given: Iterable[str], wanted: Iterable[str]) -> None:
    missing, unknown = sorted({*wanted} - {*given}), sorted({*given} - {*wanted})
    faults = [f"lacks {', '.join(missing)}"] if missing else []
    faults += [f"has {', '.join(unknown)}, which the catalogue has not"] if unknown else []
    if faults:
        raise ValueError(f"{field} {' and '.join(faults)}")


def values_from(path: Path, **instead: str | None) -> Values:
    """Read the operator's file.

    Args:
        path: The file, in YAML.
        instead: What takes the place of what the file says; None for nothing.

    Raises:
        OpsError: If it cannot be read, or is not complete; every fault is named.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        raise OpsError(
            f"{path} cannot be read ({type(fault).__name__})",
            remedy="Copy deploy/values.example.yaml, and name the copy with --values.",
        ) from None
    given = {name: value for name, value in instead.items() if value is not None}
    try:
        return Values.model_validate({**(document or {}), **given})
    except (ValidationError, TypeError) as fault:
        told = _told(fault)
    raise OpsError(
        f"{path} is not complete: {told}", remedy="deploy/values.example.yaml has it all."
    )


def _told(fault: ValidationError | TypeError) -> str:
    if not isinstance(fault, ValidationError):
        return "it is no mapping"
    return "; ".join(
        f"{'.'.join(map(str, error['loc'])) or 'the file'}: {re.sub('^Value error, ', '', error['msg'])}"
        for error in fault.errors(include_input=False, include_url=False)
    )
