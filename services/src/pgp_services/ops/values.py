"""The operator's file: which project, which image, which versions of static secrets, which queues."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic import model_validator as validator

from pgp_services import catalogue
from pgp_services.catalogue import Location, ProjectId, QueueId  # noqa: TC001  pydantic reads them
from pgp_services.names import LEDGER_QUEUE, Service
from pgp_services.ops.failures import OpsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

#: Who may be granted something: `user:`, `group:`, `serviceAccount:` and an address, or everybody.
Member = Annotated[
    str, StringConstraints(pattern=r"^(allUsers|(user|group|serviceAccount|domain):[^\s,]+)$")
]


def _form(pattern: str, told: str) -> AfterValidator:
    """Refuses a text that is not of a form, and says how it is written."""

    def of_that_form(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"write {told}")
        return text

    return AfterValidator(of_that_form)


def normalised(who: str) -> str:
    """A member of a policy as all comparisons take it: the address in small letters."""
    kind, separator, address = who.partition(":")
    return f"{kind}{separator}{address.lower()}"


#: An image by its digest: what a tag names changes, and a deployment would not be the same again.
Image = Annotated[
    str, _form(r"[a-z0-9][a-zA-Z0-9._/-]*@sha256:[0-9a-f]{64}", "HOST/PATH@sha256:DIGEST, no tag")
]

#: A person, an account or a group that may read secrets, as policies name it; addresses have no case.
Operator = Annotated[
    str,
    _form(
        r"(user|serviceAccount|group):[^\s,:@]+@[^\s,:@]+",
        "user:ADDRESS, serviceAccount:ADDRESS or group:ADDRESS",
    ),
    AfterValidator(normalised),
]

#: A number that is written as one: YAML's `true` is none.
Number = Annotated[int, Field(strict=True, gt=0)]

#: A network or a subnet of Google's VPC: a name, or a path of a shared one.
Network = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9./-]*$")]

#: Redis without a password: this file holds nothing secret.
Uptake = Annotated[
    str,
    _form(
        r"rediss?://[\w.-]+(:\d+)?(/\d+)?(\?namespace=[\w.-]+)?",
        "redis://HOST:PORT/DB or rediss://…, without a password",
    ),
]

#: A page of NP_IPN.
IpnUrl = Annotated[
    str, _form(r"https://[A-Za-z0-9.-]+(:\d+)?(/[^\s?#@]*)?", "https://HOST or https://HOST/PATH")
]

#: A project's Secret Manager as a source.
GoogleSource = Annotated[str, _form(r"gsm://[A-Za-z0-9.:-]{1,100}", "gsm://PROJECT")]


class Values(BaseModel):
    """What the catalogue does not know; nothing of it is secret.

    Attributes:
        project: The project's id.
        region: Where services, queues and the image repository are.
        repository: The image repository of Artifact Registry.
        image: The image that all services run, by its digest.
        collector: The image of OpenTelemetry's collector beside each service; None for no metrics.
        pinned: The version's number of each static secret; a new number takes effect with a deployment.
        queues: The queue ids of each queue's secret: more than one while a queue is being replaced.
        invokers: Who may call a service besides the services that have its URL to call it: a scheduler's account, say.
        operators: Who may read secrets besides the services: nobody is told of their accesses. The audit log
            names a group's members, and not the group: they have to be here one by one too.
        replicas: Regions of the secrets; none for Google's choice.
        max_age: PGP_CONFIG_MAX_AGE, in seconds, if not the default.
        network: The VPC network into which services send what goes to private addresses (Direct VPC egress).
        subnet: The subnet of it, in the region, from which they have their addresses.
        uptake: PGP_CONFIG_UPTAKE, the Redis in that network where processes report what they use.
        ipn_url: NOWPAYMENTS_IPN_URL, where NOWPayments reports payments: the address of PGP_NP_IPN_v1.
        alerts_source: ALERTS_SOURCE, where SLACK_WEBHOOK_URL is.
        poller: Which service asks Telegram for updates, the only one: SERVER hands BOTCOMMAND what is its to answer;
            BOTCOMMAND on its own answers nothing that is SERVER's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    project: ProjectId
    region: Location
    repository: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    image: Image
    collector: Image | None = None
    pinned: dict[str, Number]
    queues: dict[str, Annotated[list[QueueId], Field(min_length=1)]]
    invokers: dict[Service, list[Member]] = {}
    operators: list[Operator] = []
    replicas: list[Location] = []
    max_age: Annotated[float, Field(ge=0)] | None = None
    network: Network | None = None
    subnet: Network | None = None
    uptake: Uptake | None = None
    ipn_url: IpnUrl | None = None
    alerts_source: GoogleSource | None = None
    poller: Literal[Service.SERVER, Service.BOTCOMMAND] = Service.SERVER

    @validator(mode="after")
    def _complete(self) -> Self:
        _refuse_other_names("pinned", self.pinned, _names("static"))
        _refuse_other_names("queues", self.queues, queue_secrets())
        _refuse_shared_queues(self.queues)
        if (self.network is None) != (self.subnet is None):
            raise ValueError("network and subnet go together")
        if self.uptake is not None and self.network is None:
            raise ValueError("uptake needs network and subnet: services do not reach it without")
        return self

    def may_read(self, who: str) -> bool:
        """Whether a member of a policy is one of the operators."""
        return normalised(who) in self.operators

    @property
    def operator_addresses(self) -> frozenset[str]:
        """The operators as the audit log names them, in small letters; no groups, which it does not name."""
        named = (who.partition(":") for who in self.operators)
        return frozenset(address for kind, _, address in named if kind != "group")


def _names(reload_class: str) -> list[str]:
    rows = catalogue.CATALOGUE.values()
    return [row.name for row in rows if row.reload_class == reload_class]


def queue_secrets() -> list[str]:
    """The secrets that name queues, in the catalogue's order."""
    return [row.name for row in catalogue.CATALOGUE.values() if row.kind == "queue id"]


def _refuse_shared_queues(queues: Mapping[str, list[str]]) -> None:
    """A queue has the settings and the senders of one secret: a payment would not be alone in a shared one."""
    used = Counter([LEDGER_QUEUE])  # HOSTPAY3's, of which no secret holds the name
    used.update(queue for queues_of_one in queues.values() for queue in set(queues_of_one))
    shared = sorted(queue for queue, times in used.items() if times > 1)
    if shared:
        raise ValueError(
            f"queues has {', '.join(shared)} under several secrets, or the ledger's own: give each its own"
        )


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
