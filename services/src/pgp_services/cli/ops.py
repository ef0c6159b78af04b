"""`pgp-services ops`: the fleet on Google Cloud, set up, deployed in waves, verified, audited."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgp_config.audit import SOURCE_RULES, select_files
from pgp_services.cli.naming import service_named
from pgp_services.cli.shown_ops import ShownOps
from pgp_services.names import Service
from pgp_services.ops import gates, generated, pilot
from pgp_services.ops.base import deploy_base
from pgp_services.ops.desk import Desk
from pgp_services.ops.failures import OpsError, RefusedError
from pgp_services.ops.gates import Evidence
from pgp_services.ops.gcloud import run_gcloud
from pgp_services.ops.journal import Journal
from pgp_services.ops.rollout import deploy_service
from pgp_services.ops.secret_state import verify_secrets
from pgp_services.ops.values import values_from
from pgp_services.ops.waves import PILOT, plan_from

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgp_config.audit import Finding

#: How it ended. 2 is a wrong use of the command, as typer has it.
DONE, FAILED, UNUSABLE, REFUSED, INTERRUPTED = 0, 1, 2, 3, 130

_CODES = "Exit codes: 0 done, 1 failed, 2 wrong use, 3 refused or with findings, 130 interrupted."

ops = typer.Typer(no_args_is_help=True, help=f"The fleet on Google Cloud, by gcloud. {_CODES}")
deploy = typer.Typer(no_args_is_help=True, help="Set up, and deploy.")
test = typer.Typer(no_args_is_help=True, help="Test what is deployed.")
verify = typer.Typer(no_args_is_help=True, help="Verify what is deployed.")
audits = typer.Typer(no_args_is_help=True, help="Audit.")
ops.add_typer(deploy, name="deploy")
ops.add_typer(test, name="test")
ops.add_typer(verify, name="verify")
ops.add_typer(audits, name="audit")

ValuesFile = Annotated[
    Path,
    typer.Option("--values", envvar="PGP_OPS_VALUES", help="The operator's file, in YAML."),
]
Project = Annotated[
    str | None, typer.Option(help="In place of the file's project.", show_default=False)
]
Region = Annotated[
    str | None, typer.Option(help="In place of the file's region.", show_default=False)
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Look, and print the commands that would change something."),
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline", help="A dry run that does not look either: as if nothing was there."
    ),
]
NamesOnly = Annotated[
    bool, typer.Option("--dry-run", help="Name the files that it is about, and do nothing.")
]
AsDryRun = Annotated[
    bool, typer.Option("--offline", help="As --dry-run: nobody is asked in any case.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON document, and nothing else.")]
Services = Annotated[
    list[str] | None,
    typer.Option("--service", help="Only for this one; may be repeated.", show_default=False),
]
Record = Annotated[Path, typer.Option(help="The file with the pilot's verdict.")]
Sources = Annotated[
    list[Path] | None,
    typer.Option(
        "--sources", help="Folders to audit; services/src by default.", show_default=False
    ),
]
WaveFile = Annotated[
    Path | None,
    typer.Option("--waves", help="A wave file; the fleet's own by default.", show_default=False),
]
AuditLog = Annotated[
    Path | None,
    typer.Option(
        help="An export of the audit log; by default it is read with gcloud logging read.",
        show_default=False,
    ),
]
Freshness = Annotated[str, typer.Option(help="How far back gcloud reads the audit log.")]
NoTraffic = Annotated[
    bool,
    typer.Option("--no-traffic", help="Leave the traffic where it is: the revision has a tag."),
]
NoSoak = Annotated[
    bool, typer.Option("--no-soak", help="Do not wait for the days of the wave before.")
]

_VALUES = Path("deploy/values.yaml")
_RECORD = Path(".pgp-ops/pilot.json")
_SOURCES = (Path("services/src"),)
_NOTHING_DONE = "Dry run: nothing was done."


@dataclass(frozen=True, slots=True)
class _Call:
    """What all commands are told."""

    action: str
    values: Path | None
    project: str | None = None
    region: str | None = None
    dry_run: bool = False
    offline: bool = False
    as_json: bool = False


def _perform(
    call: _Call,
    do: Callable[[Desk], Sequence[Finding] | None],
    summary: str,
    *,
    dry: str = _NOTHING_DONE,
) -> None:
    """Do it, show it, and end with its code.

    Args:
        call: What the command was told.
        do: Does it.
        summary: How it ended, if well.
        dry: The same, of a dry run.
    """
    shown = ShownOps(call.action, as_json=call.as_json, dry_run=call.dry_run or call.offline)
    journal = Journal(shown.tell)
    findings: Sequence[Finding] = ()
    error: OpsError | None = None
    try:
        findings = do(_desk(call, journal)) or ()
        code = REFUSED if findings else DONE
    except RefusedError as refusal:
        error, code = refusal, REFUSED
    except OpsError as failure:
        error, code = failure, FAILED
    except KeyboardInterrupt:
        error, code = OpsError("Interrupted", remedy="What was begun may go on."), INTERRUPTED
    summary = _summed(journal, dry if call.dry_run or call.offline else summary)
    shown.end(journal, code, findings=findings, error=error, summary=summary)
    if code:
        raise typer.Exit(code)


def _desk(call: _Call, journal: Journal) -> Desk:
    values = values_from(call.values or _VALUES, project=call.project, region=call.region)
    return Desk(values, run_gcloud, journal, dry_run=call.dry_run, offline=call.offline)


def _summed(journal: Journal, summary: str) -> str:
    """The summary, with how much was done."""
    counts = {
        "to do": journal.count("would"),
        "done": journal.count("done"),
        "there already": journal.count("already"),
    }
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return f"{summary} {told}." if told else summary


def _chosen(services: list[str] | None) -> list[Service]:
    return [service_named(name) for name in services] if services else list(Service)


# -- deploy ------------------------------------------------------------------------------------


@deploy.command("base")
def base(
    *,
    values: ValuesFile = _VALUES,
    project: Project = None,
    region: Region = None,
    service: Services = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove who may read secrets without the catalogue.")
    ] = False,
    dry_run: DryRun = False,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """APIs, image repository, accounts, queues, secrets without values, who may do what, audit logs.

    Looks first, adds what is missing, changes what differs; run it as often as you like. It says which secrets
    have no version yet.
    """
    services = _chosen(service)
    _perform(
        _Call("deploy base", values, project, region, dry_run, offline, as_json),
        lambda desk: deploy_base(desk, services, prune=prune),
        "The base is there.",
    )


@deploy.command("pilot")
def deploy_pilot(
    *,
    values: ValuesFile = _VALUES,
    project: Project = None,
    region: Region = None,
    no_traffic: NoTraffic = False,
    dry_run: DryRun = False,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """PGP_SPLIT2_v1: a revision beside the one that serves, who may call it, then the traffic."""
    _perform(
        _Call("deploy pilot", values, project, region, dry_run, offline, as_json),
        lambda desk: deploy_service(desk, PILOT, traffic=not no_traffic),
        "Next: pgp-services ops test pilot.",
    )


@deploy.command("security-critical")
def security_critical(
    *,
    values: ValuesFile = _VALUES,
    project: Project = None,
    region: Region = None,
    waves: WaveFile = None,
    sources: Sources = None,
    record: Record = _RECORD,
    no_traffic: NoTraffic = False,
    dry_run: DryRun = False,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """ORCHESTRATOR, HOSTPAY1, HOSTPAY3, SERVER: only if the sources pass the audit and the pilot its test."""
    evidence = Evidence(sources or _SOURCES, record)
    _perform(
        _Call("deploy security-critical", values, project, region, dry_run, offline, as_json),
        lambda desk: gates.deploy_critical(
            desk, plan_from(waves), evidence, traffic=not no_traffic
        ),
        "The security-critical services are deployed.",
    )


@deploy.command("wave")
def wave(
    number: Annotated[
        int | None, typer.Argument(metavar="[N]", help="Which wave.", show_default=False)
    ] = None,
    *,
    values: ValuesFile = _VALUES,
    project: Project = None,
    region: Region = None,
    waves: WaveFile = None,
    sources: Sources = None,
    record: Record = _RECORD,
    audit_log: AuditLog = None,
    freshness: Freshness = "1d",
    everything: Annotated[
        bool, typer.Option("--all", help="Wave after wave, as far as the gates let pass.")
    ] = False,
    no_soak: NoSoak = False,
    dry_run: DryRun = False,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """A wave of the rollout, if the one before it serves, has served for its days, and its secrets verify."""
    if (number is None) != everything:
        raise typer.BadParameter("give a wave's number, or --all")
    evidence = Evidence(sources or _SOURCES, record, audit_log, freshness, soak=not no_soak)

    def do(desk: Desk) -> None:
        plan = plan_from(waves)
        if number is None:
            gates.deploy_all(desk, plan, evidence)
        else:
            gates.deploy_wave(desk, plan, number, evidence)

    call = _Call("deploy wave", values, project, region, dry_run, offline, as_json)
    _perform(call, do, "Deployed.")


@deploy.command("all")
def deploy_all(
    *,
    values: ValuesFile = _VALUES,
    project: Project = None,
    region: Region = None,
    waves: WaveFile = None,
    sources: Sources = None,
    record: Record = _RECORD,
    dry_run: DryRun = False,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Every service anew, in the order of the waves, once the rollout is over: a new image, a new static key.

    Refuses unless each was deployed by its wave, the sources pass the audit, and the pilot serves with this
    file and has passed its test.
    """
    evidence = Evidence(sources or _SOURCES, record)
    _perform(
        _Call("deploy all", values, project, region, dry_run, offline, as_json),
        lambda desk: gates.redeploy(desk, plan_from(waves), evidence),
        "All services are deployed.",
    )


# -- test, verify, audit -----------------------------------------------------------------------


@test.command("pilot")
def pilot_test(
    *,
    values: ValuesFile = _VALUES,
    project: Project = None,
    region: Region = None,
    record: Record = _RECORD,
    url: Annotated[
        str | None,
        typer.Option(help="Where it is, in place of Cloud Run's word.", show_default=False),
    ] = None,
    tag: Annotated[
        str | None, typer.Option(help="The revision with this tag.", show_default=False)
    ] = None,
    account: Annotated[
        str | None,
        typer.Option("--as", help="Call it as this service account.", show_default=False),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Call it without an identity token: a local one.")
    ] = False,
    no_rotation: Annotated[
        bool, typer.Option("--no-rotation", help="Add no version; the verdict opens no gate.")
    ] = False,
    dry_run: DryRun = False,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Is the pilot alive and ready, does it refuse a bad token, does it take up a new version?

    The rotation adds a version of LOG_LEVEL with the value that it has, so that nothing changes for
    anybody. The verdict is written to a file that the gates of later waves read.
    """

    def do(desk: Desk) -> None:
        where, revision = (url, "") if url else _target(desk, tag)
        token = None if no_token else _token(desk, where, account)
        if desk.dry_run:
            pilot.plan_test(desk, where, rotate=not no_rotation)
            return
        with closing(pilot.Pilot(where, token)) as deployed:
            verdict = pilot.try_pilot(desk, deployed, revision=revision, rotate=not no_rotation)
        pilot.keep(verdict, record)
        if not verdict.passed:
            raise RefusedError("the pilot has not passed", remedy=f"{record} says why.")

    call = _Call("test pilot", values, project, region, dry_run, offline, as_json)
    passed = f"The pilot has passed: {record}."
    _perform(call, do, passed, dry="Dry run: nothing was verified.")


def _target(desk: Desk, tag: str | None) -> tuple[str, str]:
    return ("https://PILOT", "") if desk.offline else pilot.pilot_target(desk, tag)


def _token(desk: Desk, url: str, account: str | None) -> str:
    """An identity token; it is in no command line, no file and no message."""
    as_account = (f"--impersonate-service-account={account}", f"--audiences={url}")
    words = ("auth", "print-identity-token", *(as_account if account else ()))
    ran = desk.ask(*words, confidential=True)
    if ran.code != 0:
        raise OpsError(
            "gcloud has no identity token for you",
            remedy="Sign in with gcloud auth login, or call it --as a service account.",
        )
    return ran.out.strip()


@verify.command("secrets")
def secrets(
    *,
    values: ValuesFile = _VALUES,
    project: Project = None,
    region: Region = None,
    service: Services = None,
    audit_log: AuditLog = None,
    freshness: Freshness = "1d",
    impersonate: Annotated[
        bool,
        typer.Option("--impersonate", help="Read each dynamic one as each of its readers too."),
    ] = False,
    no_audit_log: Annotated[
        bool, typer.Option("--no-audit-log", help="Do not look at who read what.")
    ] = False,
    dry_run: DryRun = False,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Every dynamic secret can be read and is valid; the static ones were read at start-ups alone.

    Values are validated as the catalogue's types, and shown by nothing. A static secret's access that belongs
    to no start of a container, and an access by whom the catalogue does not know, are findings.
    """
    services = _chosen(service)

    def do(desk: Desk) -> list[Finding]:
        found = verify_secrets(desk, services, impersonate=impersonate)
        if no_audit_log:
            return found
        export = gates.export_for(desk, audit_log, freshness)
        reading = gates.judged(desk, export, services)
        if desk.offline:
            return found
        desk.journal.write("note", f"{len(export.accesses)} accesses, {_starts(reading.starts)}")
        return [*found, *reading.findings]

    call = _Call("verify secrets", values, project, region, dry_run, offline, as_json)
    # A dry run that looks has verified: it does nothing else.
    good = "The secrets are as they have to be."
    _perform(call, do, good, dry="Dry run: nothing was verified." if offline else good)


def _starts(starts: dict[Service, int]) -> str:
    told = [f"{count} of {service}" for service, count in starts.items() if count]
    return f"and among them the starts: {', '.join(told) or 'none'}"


@audits.command("sources")
def sources(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(exists=True, help="Files and folders; services/src by default."),
    ] = None,
    *,
    host: Annotated[
        list[str] | None,
        typer.Option(help="A glob of your hosts, besides *.run.app; may be repeated."),
    ] = None,
    dry_run: NamesOnly = False,
    offline: AsDryRun = False,
    as_json: AsJson = False,
) -> None:
    """Secrets read from the environment by hand, values in the source, unused and undeclared names.

    `# pgp-config: allow[RULE] REASON` lets a line pass. No value is shown.

    Exit codes: 0 nothing was found, 2 a folder has no Python file, 3 something was found.
    """
    if dry_run or offline:
        _plan_audit(paths or _SOURCES, as_json=as_json)
        return
    names = gates.fleet_names(["*.run.app", *(host or [])])
    shown = ShownOps("audit sources", as_json=as_json, dry_run=False)
    findings = gates.audited(paths or _SOURCES, names)
    code = REFUSED if findings else DONE
    if any(each.rule == gates.NOTHING for each in findings):
        code = UNUSABLE
    shown.end(Journal(), code, findings=findings, summary="" if findings else "No findings.")
    if code:
        raise typer.Exit(code)


def _plan_audit(paths: Sequence[Path], *, as_json: bool) -> None:
    """Tell which files would be audited, and for what; none is opened."""
    shown = ShownOps("audit sources", as_json=as_json, dry_run=True)
    journal = Journal(shown.tell)
    selected = select_files(paths)
    for rule, what in SOURCE_RULES.items():
        journal.write("note", f"{rule}: {what}")
    for path in selected.files:
        journal.write("would", f"Audit {path}")
    for empty in selected.empty:
        journal.write("failed", f"{empty} has no Python file")
    code = UNUSABLE if selected.empty else DONE
    shown.end(journal, code, summary=_summed(journal, _NOTHING_DONE))
    if code:
        raise typer.Exit(code)


# -- generate ----------------------------------------------------------------------------------


@ops.command("generate")
def generate(
    *,
    folder: Annotated[Path, typer.Option("--to", help="Where.")] = Path("deploy"),
    values: ValuesFile = Path("deploy/values.example.yaml"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; 3 if something differs.")
    ] = False,
    dry_run: NamesOnly = False,
    offline: AsDryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write the manifests, the rights and the waves that deploy/ holds, from the catalogue."""

    def do(desk: Desk) -> None:
        if desk.dry_run:
            for what, name in generated.plan(folder, desk.values):
                desk.journal.write("would", f"{what} {folder / name}")
            return
        if not check:
            for name in generated.write(folder, desk.values):
                desk.journal.write("done", f"{folder / name}")
            return
        differing = generated.differing(folder, desk.values)
        if differing:
            raise RefusedError(
                f"{', '.join(differing)} differ from the catalogue",
                remedy="Run: pgp-services ops generate.",
            )

    call = _Call("generate", values, dry_run=dry_run, offline=offline, as_json=as_json)
    _perform(call, do, f"{folder} is as the catalogue says.")
