"""Rules over an export of the audit log: static secrets are read at start-ups, and at no other time.

How a start is told from a request: a service that starts reads all its static secrets, each once, within
seconds. So the accesses of an account to static secrets are taken in bursts (no pause of more than `QUIET`
within one), and in each burst every static secret of that account has to be read equally often: once a
process that started. What exceeds that was read by something else than a start. Where the log also tells of
the starts of containers, there may be no more complete sets in a burst than starts in the `START_UP`
before its end. A log that has such lines for any service has them for all: a service without one did not start.

Without those lines an account that reads one static secret only cannot be judged: each read looks like a start. A start
whose call was answered and repeated all the same, by a time-out at its side, is found too: rather one too many.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from pgp_config.audit.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from pgp_config.audit.exports import Access, Export, Start
    from pgp_config.audit.names import Names

#: Time without an access of a static secret that ends a burst: more than a fetch's whole budget.
QUIET = timedelta(seconds=5)

#: Time after the start of a container within which its static secrets are read.
START_UP = timedelta(seconds=120)

#: What every service account's address ends with.
_ACCOUNT = ".gserviceaccount.com"


@dataclass(frozen=True, slots=True)
class Excess:
    """A static secret was read more often in a burst than processes started.

    Attributes:
        last: Its last read there.
        reads: How often it was read there.
        starts: How many of them belong to a start.
    """

    last: Access
    reads: int
    starts: int

    @property
    def beyond(self) -> int:
        """How many reads belong to no start."""
        return self.reads - self.starts

    @property
    def told(self) -> str:
        """The same as a clause, without who it was."""
        times = "once" if self.beyond == 1 else f"{self.beyond} times"
        belong = "belongs" if self.starts == 1 else "belong"
        return f"{times} beyond a start ({self.starts} of {self.reads} reads {belong} to a start of a container)"


def static_reads(
    accesses: Iterable[Access],
    names: Sequence[str],
    starts: Sequence[Start] | None,
    *,
    processes: int = 1,
) -> tuple[int, list[Excess]]:
    """How often an account's service started, and the reads that belong to no start.

    Args:
        accesses: The account's, of static secrets, in the order of time.
        names: Its static secrets: all that it reads when it starts.
        starts: Of its containers; None for a log that does not tell of any.
        processes: How many processes of a container load the secrets, each for itself.
    """
    sets, found = 0, []
    for burst in _bursts(accesses):
        counts = Counter(each.secret for each in burst)
        complete = min(counts[name] for name in names)
        if starts is not None:
            complete = min(complete, _started(burst, starts) * processes)
        sets += complete
        for name in names:
            if counts[name] > complete:
                last = [each for each in burst if each.secret == name][-1]
                found.append(Excess(last, counts[name], complete))
    return sets, found


def _bursts(accesses: Iterable[Access]) -> Iterable[list[Access]]:
    burst: list[Access] = []
    for each in accesses:
        if burst and each.at - burst[-1].at > QUIET:
            yield burst
            burst = []
        burst.append(each)
    if burst:
        yield burst


def _started(burst: list[Access], starts: Iterable[Start]) -> int:
    """The containers that were starting while a burst went on."""
    begin, end = burst[0].at, burst[-1].at
    return sum(begin - START_UP <= start.at <= end for start in starts)


# -- a whole export ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """What an export came to.

    Attributes:
        findings: What may not be.
        notes: What could not be judged, and why.
        accesses: How many accesses of declared secrets there are.
        starts: How many starts were found, by account.
    """

    findings: list[Finding]
    notes: list[str]
    accesses: int
    starts: dict[str, int]


def judge(
    export: Export,
    names: Names,
    *,
    services: Mapping[str, str] | None = None,
    processes: int = 1,
) -> Reading:
    """Judge the accesses of declared secrets.

    Args:
        export: The log.
        names: The secrets.
        services: The Cloud Run service of each account, to tell its starts from others'; without one every start counts.
        processes: How many processes of a container load the secrets, each for itself.
    """
    known = [each for each in export.accesses if each.secret in names.everything]
    findings, notes = _unreadable(export), []
    if not known:
        findings.append(_no_evidence())
    judged = [each for each in known if _is_service(each)]
    if len(judged) < len(known):
        notes.append(
            f"{len(known) - len(judged)} accesses by people, or by somebody who took on a service's identity, are not judged."
        )
    findings += _denials(judged)
    starts: dict[str, int] = {}
    for account, reads in _static(judged, names).items():
        of_its = _starts_of(export, (services or {}).get(account))
        secrets = sorted({each.secret for each in reads})
        if of_its is None and len(secrets) == 1:
            notes.append(_cannot_tell(account, secrets[0]))
            continue
        starts[account], beyond = static_reads(reads, secrets, of_its, processes=processes)
        findings += [_static_read(account, each) for each in beyond]
    return Reading(sorted(findings), notes, len(known), starts)


def _static(accesses: Iterable[Access], names: Names) -> dict[str, list[Access]]:
    found: dict[str, list[Access]] = defaultdict(list)
    for each in accesses:
        if each.allowed and each.secret in names.static:
            found[each.principal].append(each)
    return dict(sorted(found.items()))


def _starts_of(export: Export, service: str | None) -> list[Start] | None:
    if not export.starts:
        return None
    return [each for each in export.starts if service in {None, each.service}]


def _is_service(each: Access) -> bool:
    return each.principal.endswith(_ACCOUNT) and each.behind is None


def _unreadable(export: Export) -> list[Finding]:
    if not export.faults:
        return []
    first, count = export.faults[0], len(export.faults)
    entries = "1 entry" if count == 1 else f"{count} entries"
    text = f"{entries} cannot be read, the first of them is number {first.number}: {first.why}; the rest was judged"
    remedy = "Export it again: gcloud logging read … --format=json, or the JSON lines of a sink, gzipped or not."
    return [Finding("the audit log", "unreadable", text, remedy)]


def _no_evidence() -> Finding:
    text = "it has no access to a declared secret, so nothing can be told from it"
    remedy = "Switch on DATA_READ for secretmanager.googleapis.com, or export a longer time."
    return Finding("the audit log", "no-evidence", text, remedy)


def _denials(accesses: Iterable[Access]) -> list[Finding]:
    denied: dict[tuple[str, str], list[Access]] = defaultdict(list)
    for each in accesses:
        if not each.allowed:
            denied[each.secret, each.principal].append(each)
    return [
        Finding(
            secret,
            "denied",
            f"{account} was denied it {len(found)} times, last at {shown_time(found[-1].at)}",
            "Grant it roles/secretmanager.secretAccessor on the secret, or stop asking.",
            secret=secret,
        )
        for (secret, account), found in denied.items()
    ]


def _static_read(account: str, excess: Excess) -> Finding:
    secret = excess.last.secret
    return Finding(
        secret,
        "static-read",
        f"{account} read this static secret {excess.told}, last at {shown_time(excess.last.at)}",
        "Find out what read it: code that fetches by hand, a second load(), or an intruder. If several processes of a "
        "container load it, say how many: --processes.",
        secret=secret,
    )


def _cannot_tell(account: str, secret: str) -> str:
    return (
        f"{account} reads one static secret only ({secret}): without Cloud Run's lines about starts a read while serving "
        "cannot be told from a start. Export them too."
    )


def shown_time(at: datetime) -> str:
    """A moment, as findings have it."""
    return at.isoformat(timespec="milliseconds")
