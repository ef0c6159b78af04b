"""Everything that `pgp-config check` looks at, all findings at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pgp_config.checks import access, budget, catalogue, inventory
from pgp_config.checks.findings import Examination, Finding
from pgp_config.checks.inventory import Look, is_of_source, rows_of, teller
from pgp_config.cost import ACCESS_PRICE
from pgp_config.errors import (
    PgpConfigError,
    RejectedVersion,
    SecretDisabled,
    SecretForbidden,
    SecretNotFound,
)
from pgp_config.payload import DamagedVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pgp_config.checks.budget import Bill, Load
    from pgp_config.checks.catalogue import Entry
    from pgp_config.checks.inventory import Row, Subject
    from pgp_config.sources.base import Source

_GRANT = "Grant roles/secretmanager.secretAccessor on it to the identity that reads it."


@dataclass(frozen=True, slots=True)
class Options:
    """What a check is to do.

    Attributes:
        read: Whether each value is fetched to validate its type: one access a secret.
        load: How the services are used; None where that is not known.
        entries: The catalogue; None for none.
    """

    read: bool = True
    load: Load | None = None
    entries: Mapping[str, Entry] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found.

    Attributes:
        findings: All of them, the worst first.
        examinations: Which checks were made, and which not.
        rows: The secrets.
        bill: What they cost.
        accesses: How many accesses the check itself made.
    """

    findings: tuple[Finding, ...]
    examinations: tuple[Examination, ...]
    rows: tuple[Row, ...]
    bill: Bill
    accesses: int

    @property
    def is_good(self) -> bool:
        """Whether nothing has to be mended; notes do not count."""
        return all(finding.severity == "note" for finding in self.findings)


@dataclass(slots=True)
class _Run:
    """A check under way."""

    source: Source | None
    rows: list[Row]
    findings: list[Finding] = field(default_factory=list)
    examinations: list[Examination] = field(default_factory=list)
    accesses: int = 0

    def skip(self, check: str, why: str) -> None:
        """Say that a check is not made."""
        self.examinations.append(Examination(check, made=False, text=why))

    def asked(
        self,
        check: str,
        text: str,
        what: str,
        rows: Sequence[Row],
        unknown: str,
    ) -> dict[str, Any]:
        """What the source tells of each secret, by name; those that it does not tell are left out, and said.

        Args:
            check: What it is for.
            text: What is looked at.
            what: The method of its administration.
            rows: The secrets.
            unknown: Why it is not made where the source has no such method.
        """
        tell = None if self.source is None else teller(self.source, what)
        if tell is None:
            self.skip(check, unknown)
            return {}
        told = inventory.of_each(
            rows, lambda row: _told(tell, row.name), None, lambda one: one if _ends(one) else None
        )
        known = {name: one for name, one in told.items() if not isinstance(one, PgpConfigError)}
        problems = [one for one in told.values() if isinstance(one, PgpConfigError)]
        self.examinations.append(_examined(check, text, len(rows), problems))
        return known


def examine(subjects: Sequence[Subject], source: Source | None, options: Options) -> Report:
    """Look at everything.

    Args:
        subjects: The containers.
        source: Where their secrets are stored; None where that is not known.
        options: What to do.

    Raises:
        DeclarationError: If a number of the load is out of its bounds.
    """
    run = _Run(source, rows_of(subjects))
    run.findings += _contradictions(run.rows)
    looks = _states(run)
    is_reached = not (looks and all(look.unreached for look in looks.values()))
    if source is not None and is_reached:
        _look_closer(run, looks, options)
    elif source is not None:
        for check in ("readable", "type", "iam", "iam-project"):
            run.skip(check, "the source does not answer")
    _drift(run, subjects, options, is_reached=is_reached)
    bill = budget.bill_of(subjects, looks.values(), options.load)
    run.findings += budget.of_bill(bill, options.load)
    if options.load is None:
        run.skip("quota", "give --requests-per-second and --processes")
    else:
        run.examinations.append(
            Examination("quota", made=True, text="accesses of a month, and of a minute")
        )
    return Report(
        tuple(sorted(set(run.findings), key=lambda finding: finding.order)),
        tuple(run.examinations),
        tuple(run.rows),
        bill,
        run.accesses,
    )


def _contradictions(rows: Sequence[Row]) -> Iterator[Finding]:
    for row in rows:
        if len(row.classes) > 1:
            yield Finding(
                "two-classes",
                "warning",
                row.name,
                f"is static for some of its services and dynamic for others: {', '.join(row.services)}",
                "Declare it alike: a rotation would wait for the restart of some of them.",
            )
        if len(row.types) > 1:
            yield Finding(
                "two-types",
                "warning",
                row.name,
                f"is declared with several types: {', '.join(row.types)}",
                "Declare it alike, so that a version is good for all of its services or for none.",
            )
        if len(row.pinned) > 1:
            yield Finding(
                "two-pins",
                "warning",
                row.name,
                f"is pinned to several versions: {', '.join(map(str, row.pinned))}",
                "Deploy the services that have the old one.",
            )


# -- there, and in the right state -------------------------------------------------------------


def _states(run: _Run) -> dict[str, Look]:
    if run.source is None:
        for check in ("state", "readable", "type", "iam", "iam-project"):
            run.skip(check, "no source was given: --source or PGP_CONFIG_SOURCE")
        return {}
    looks = inventory.looks_at(run.source, run.rows)
    if teller(run.source, "versions") is None:
        run.skip("state", f"{_kind(run.source)} tells no versions and states")
        return looks
    run.findings += _unreachable(looks)
    problems = [look.problem for look in looks.values() if look.problem is not None]
    run.examinations.append(
        _examined("state", "whether the version that is read is enabled", len(looks), problems)
    )
    for row in run.rows:
        run.findings += _of_state(row, looks[row.name])
    return looks


def _unreachable(looks: Mapping[str, Look]) -> Iterator[Finding]:
    """A source that does not answer is one finding; where it answers for some, those it does not answer for."""
    is_whole = all(look.unreached for look in looks.values())
    for name, look in looks.items():
        if look.problem is not None and look.unreached:
            fault, secret = look.problem, None if is_whole else name
            remedy = fault.remedy or "Try again."
            yield Finding("unreachable", "error", secret, fault.happened, remedy)


def _of_state(row: Row, look: Look) -> Iterator[Finding]:
    if look.state == "missing":
        what, remedy = "the source has no such secret", "Create it, or correct the name."
        yield Finding("missing", "error", row.name, what, remedy)
    elif look.state == "no version":
        what, remedy = (
            "it has no version",
            "Add one: pgp-config rotate, or gcloud secrets versions add.",
        )
        yield Finding("no-version", "error", row.name, what, remedy)
    elif look.state == "missing version":
        what = f"it is pinned to version {look.version}, which it does not have"
        yield Finding("state", "error", row.name, what, "Pin it to one that there is.")
    elif look.state in ("disabled", "destroyed"):
        which = "the newest version" if row.read == "latest" else "the pinned version"
        what = f"{which}, {look.version}, is {look.state}, and cannot be read"
        yield Finding("state", "error", row.name, what, "Enable it, or add a new one.")
    elif look.state == "enabled":
        yield from _of_older(row, look)


def _of_older(row: Row, look: Look) -> Iterator[Finding]:
    others = sorted(
        version.number
        for version in look.versions
        if version.state == "enabled" and version.number not in (look.version, *row.pinned)
    )
    if row.has_overlap:  # the one before is in use
        others = others[:-1]
    newer = [number for number in others if row.pinned and number > row.pinned[-1]]
    if newer:
        yield Finding(
            "newer-version",
            "note",
            row.name,
            f"it is pinned to version {row.pinned[-1]}, and version {newer[-1]} waits",
            "Deploy the services with the new number, where it is to be used.",
        )
    older = [number for number in others if number not in newer]
    if older:
        yield Finding(
            "old-versions",
            "note",
            row.name,
            f"besides version {look.version}, older ones are enabled: {', '.join(map(str, older))}",
            "Disable what nobody uses any more. The next pgp-config rotate disables those that were in use until then, "
            "and all of them with --all-older, once it is proved that no process holds one.",
        )


# -- readable, of the right type, by not too many ----------------------------------------------


def _look_closer(run: _Run, looks: Mapping[str, Look], options: Options) -> None:
    source = run.source
    kind = _kind(source)
    there = [
        row for row in run.rows if looks[row.name].state in ("enabled", "forbidden", "unknown")
    ]
    rights = run.asked(
        "readable",
        "what this identity may do",
        "rights",
        there,
        f"{kind} does not tell; the values show it when they are read",
    )
    unreadable = {name for name, each in rights.items() if not each.reads}
    for name in sorted(unreadable):
        what = "this identity may not read it (secretmanager.versions.access)"
        run.findings.append(Finding("unreadable", "error", name, what, _GRANT))
    run.findings += access.of_identity(rights)
    if options.read:
        _types(run, [row for row in there if row.name not in unreadable])
    else:
        run.skip("type", "--no-read was given: no value is fetched")
    policies = run.asked(
        "iam", "the policy of each secret", "grants", there, f"{kind} has no IAM policies"
    )
    for name, grants in policies.items():
        run.findings += access.of_secret(name, grants)
    _project(run)


def _project(run: _Run) -> None:
    tell = teller(run.source, "grants_above") if run.source is not None else None
    if tell is None:
        run.skip("iam-project", f"{_kind(run.source)} is in no project")
        return
    try:
        run.findings += access.of_project(tell())
    except PgpConfigError as fault:
        run.skip("iam-project", fault.happened)
    else:
        run.examinations.append(
            Examination(
                "iam-project",
                made=True,
                text="the policy of the project; not of folders and the organization above it",
            )
        )


def _types(run: _Run, rows: Sequence[Row]) -> None:
    """Fetch each value, validate it and drop it."""
    found = inventory.of_each(
        rows,
        lambda row: _fault_of_value(run.source, row),
        None,
        lambda fault: fault if is_of_source(fault) else None,
    )
    run.accesses += len(found)
    for name, fault in found.items():
        if fault is not None:
            run.findings.append(_of_fault(name, fault))
    run.examinations.append(
        Examination(
            "type",
            made=True,
            text=f"each value was fetched, validated in memory and dropped: {_accesses(len(found))}",
        )
    )


def _fault_of_value(source: Any, row: Row) -> PgpConfigError | None:  # noqa: ANN401  it is a Source here
    """Why a value cannot be served. Nothing is raised, or kept, that holds it."""
    try:
        payload = source.fetch(row.name, row.read)
    except PgpConfigError as fault:
        return fault.located()
    for secret in row.secrets:
        try:
            secret.check(payload)
        except RejectedVersion as fault:
            return fault.located()
    return None


def _of_fault(name: str, fault: PgpConfigError) -> Finding:
    code = next((code for kind, code in _CODES if isinstance(fault, kind)), "unreachable")
    remedy = _REMEDIES.get(code) or fault.remedy or "Try again."
    return Finding(code, "error", name, fault.happened, remedy)


def _kind(source: object) -> str:
    return f"a source of the kind {type(source).__name__}"


_REMEDIES = {"type": "Add a version of the declared type, or correct the declaration."}


_CODES: tuple[tuple[type[PgpConfigError], str], ...] = (
    (SecretNotFound, "missing"),
    (SecretForbidden, "unreadable"),
    (SecretDisabled, "state"),
    (DamagedVersion, "damaged"),
    (RejectedVersion, "type"),
)


# -- the catalogue -----------------------------------------------------------------------------


def _drift(run: _Run, subjects: Sequence[Subject], options: Options, *, is_reached: bool) -> None:
    if options.entries is None:
        run.skip("catalogue", "give the team's list of secrets: --catalogue FILE")
        return
    tell = None
    if run.source is not None and is_reached:
        tell = teller(run.source, "names")
    held, why = (None, "what the source holds is not known") if tell is None else _held(tell)
    services = {subject.service for subject in subjects}
    run.findings += catalogue.drift(options.entries, run.rows, services, held)
    text = "with the declarations and with what the source holds"
    if held is None:
        text = f"with the declarations alone: {why}"
    run.examinations.append(Examination("catalogue", made=held is not None, text=text))


def _held(tell: Callable[[], list[str]]) -> tuple[list[str] | None, str]:
    try:
        return tell(), ""
    except PgpConfigError as fault:
        return None, fault.happened


# -- what was asked ----------------------------------------------------------------------------


def _told(tell: Callable[[str], Any], name: str) -> Any:  # noqa: ANN401  whatever the method tells
    try:
        return tell(name)
    except PgpConfigError as fault:
        return fault.located()


def _ends(told: object) -> bool:
    return isinstance(told, PgpConfigError) and is_of_source(told)


def _examined(
    check: str, text: str, count: int, problems: Sequence[PgpConfigError]
) -> Examination:
    if not problems:
        return Examination(check, made=True, text=text)
    reasons = "; ".join(sorted({problem.happened for problem in problems}))
    return Examination(
        check, made=False, text=f"{len(problems)} of {count} could not be asked about: {reasons}"
    )


def _accesses(count: int) -> str:
    accesses = "1 access" if count == 1 else f"{count} accesses"
    return f"{accesses}, ${count * ACCESS_PRICE:.6f} after the free ones"
