"""`test pilot`: whether the deployed pilot is alive, ready, refuses strangers, and takes up a rotation."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from pgp_services import catalogue
from pgp_services.ops import access
from pgp_services.ops.failures import OpsError, RefusedError
from pgp_services.ops.rollout import deployed_services, serving_of, url_of
from pgp_services.ops.waves import PILOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pgp_services.ops.desk import Desk
    from pgp_services.ops.gcloud import Json

#: What is rotated in the test: no key, read by every request, and its new version has the same value.
PROBE = "LOG_LEVEL"

#: Seconds within which a new version is seen: 5 s of freshness, and `latest` that lags.
PATIENCE = 60.0

#: Seconds between two looks at a service.
PAUSE = 2.0

#: Days after which a passed test says nothing any more.
VALID_DAYS = 14

_TOKEN_THAT_IS_NONE = "not-a-token"  # noqa: S105  the point of it


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a test of the pilot found.

    Attributes:
        project: Where.
        region: Where.
        revision: The revision that was tested; empty where a URL was given.
        at: When, in ISO 8601.
        passed: Whether all checks did.
        checks: Each check, and what it found.
        rotated: Whether a rotation was among them.
    """

    project: str
    region: str
    revision: str
    at: str
    passed: bool
    checks: dict[str, str]
    rotated: bool


class Pilot:
    """Asks the deployed pilot.

    Args:
        url: Its base.
        token: An identity token for it; None where it asks for none.
        transport: Of httpx; a test's own.
    """

    def __init__(
        self, url: str, token: str | None, transport: httpx.BaseTransport | None = None
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=20, transport=transport)

    def get(self, path: str) -> tuple[int, Json]:
        """The status and the JSON of a page; None for what is no JSON."""
        return self._answer(lambda: self._client.get(path))

    def post(self, content: object) -> tuple[int, Json]:
        """The status and the JSON of `POST /`."""
        return self._answer(lambda: self._client.post("/", json=content))

    def _answer(self, ask: Callable[[], httpx.Response]) -> tuple[int, Json]:
        try:
            answer = ask()
        except httpx.HTTPError as fault:
            # Not its text, nor the exception: the request goes along, and with it the token.
            kind = type(fault).__name__
        else:
            return answer.status_code, _json_of(answer)
        raise OpsError(f"the pilot cannot be reached ({kind})", remedy="Is its URL right?")

    def close(self) -> None:
        """End the connections."""
        self._client.close()


def _json_of(answer: httpx.Response) -> Json:
    try:
        return answer.json()
    except ValueError:
        return None


def try_pilot(
    desk: Desk,
    pilot: Pilot,
    *,
    revision: str,
    rotate: bool = True,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Verdict:
    """Run all checks; none stops the others.

    Args:
        desk: Where versions are looked at and added.
        pilot: What is tested.
        revision: Which revision that is.
        rotate: Whether a version is added.
        sleep: Waits for seconds.
        clock: Monotonic seconds.
    """
    checks: dict[str, Callable[[], str]] = {
        "alive": lambda: _alive(pilot),
        "ready": lambda: _ready(pilot, desk.values.pinned),
        "bad token": lambda: _bad_token(pilot),
        "no token": lambda: _no_token(pilot),
    }
    if rotate:
        checks["rotation"] = lambda: _rotation(desk, pilot, sleep, clock)
    found: dict[str, str] = {}
    passed = True
    for name, check in checks.items():
        try:
            found[name] = check()
            desk.journal.write("passed", f"{name}: {found[name]}")
        except OpsError as fault:
            passed, found[name] = False, str(fault)
            desk.journal.write("failed", f"{name}: {found[name]}")
    values = desk.values
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Verdict(values.project, values.region, revision, at, passed, found, rotate)


def plan_test(desk: Desk, url: str, *, rotate: bool) -> None:
    """Tell what `try_pilot` would do."""
    told = desk.journal.write
    header = '-H "Authorization: Bearer $(gcloud auth print-identity-token)"'
    for path in ("/healthz", "/readyz"):
        told("would", f"Asks: curl {header} {url}{path}")
    for body, status in ((f'{{"token": "{_TOKEN_THAT_IS_NONE}"}}', 401), ("{}", 400)):
        told("would", f"Expects {status}: curl {header} {url}/ --json '{body}'")
    if rotate:
        words = ("secrets", "versions", "access", "latest", f"--secret={PROBE}")
        desk.tell(f"Reads {PROBE}, and does not show it", *words)
        what = f"Adds a version of {PROBE} with the same value; then asks until /readyz has it"
        desk.tell(what, "secrets", "versions", "add", PROBE, "--data-file=-")


# -- the checks --------------------------------------------------------------------------------


def _expect(truth: object, happened: str, remedy: str = "Its log says why.") -> None:
    if not truth:
        raise OpsError(happened, remedy=remedy)


def _alive(pilot: Pilot) -> str:
    status, said = pilot.get("/healthz")
    if status == 404 and said is None:  # noqa: PLR2004  HTTP: no such page
        # Google's front end keeps /healthz of *.run.app to itself; Cloud Run's probe asks within.
        return "/healthz is not to be reached from outside; the liveness probe asks it within"
    _expect(status == httpx.codes.OK, f"/healthz answered {status}")
    _expect(isinstance(said, dict) and said.get("status") == "alive", "/healthz is another's")
    return "/healthz answered 200"


def _rows(pilot: Pilot) -> dict[str, dict[str, Any]]:
    status, said = pilot.get("/readyz")
    _expect(isinstance(said, dict) and "secrets" in said, f"/readyz answered {status}, no list")
    rows: dict[str, dict[str, Any]] = {row["name"]: row for row in said["secrets"]}
    unusable = sorted(name for name, row in rows.items() if row["state"] == "missing")
    _expect(status == httpx.codes.OK, f"/readyz answered {status}; unusable: {unusable}")
    return rows


def _ready(pilot: Pilot, pinned: Mapping[str, int]) -> str:
    """Every secret of the catalogue, in its class: the dynamic fresh, the static sealed at their version."""
    rows = _rows(pilot)
    wanted = {row.name: row.reload_class for row in catalogue.secrets_of(PILOT)}
    kinds = {name: row["kind"] for name, row in rows.items()}
    _expect(kinds == wanted, f"it has other secrets: {sorted(kinds.items() ^ wanted.items())}")
    stale = sorted(
        n for n, row in rows.items() if row["kind"] == "dynamic" and row["state"] != "ok"
    )
    _expect(not stale, f"not fresh: {stale}", "Can its account read them? Is Secret Manager up?")
    static = {name: row["version"] for name, row in rows.items() if row["kind"] == "static"}
    loose = {name: number for name, number in static.items() if number != pinned[name]}
    _expect(
        not loose, f"not at the pinned versions: {loose}", "Deploy it with the operator's file."
    )
    return f"{len(rows)} secrets, {len(static)} of them static and at their pinned versions"


def _bad_token(pilot: Pilot) -> str:
    status, said = pilot.post({"token": _TOKEN_THAT_IS_NONE})
    _expect(status == httpx.codes.UNAUTHORIZED, f"a bad token was answered with {status}")
    _expect(isinstance(said, dict), "a bad token was refused, and not by the pilot")
    _expect(_TOKEN_THAT_IS_NONE not in json.dumps(said), "its answer repeats the token")
    return "refused with 401"


def _no_token(pilot: Pilot) -> str:
    status, _ = pilot.post({})
    _expect(status == httpx.codes.BAD_REQUEST, f"no token was answered with {status}")
    return "refused with 400"


def _rotation(
    desk: Desk, pilot: Pilot, sleep: Callable[[float], None], clock: Callable[[], float]
) -> str:
    """Add a version with the same value, and see the pilot take it up: nothing changes for anybody."""
    before = _rows(pilot)[PROBE]["version"]
    ran = desk.ask(
        "secrets", "versions", "access", "latest", f"--secret={PROBE}", confidential=True
    )
    _expect(ran.code == 0, f"{PROBE} cannot be read by you", "You need its secretAccessor role.")
    added = desk.change(
        f"Added a version of {PROBE} with the value that it has",
        *("secrets", "versions", "add", PROBE, "--data-file=-", "--format=value(name)"),
        given=ran.out,
        confidential=True,
    )
    number = int(added.strip().rpartition("/")[2])
    deadline = clock() + PATIENCE
    while True:
        pilot.post({"token": _TOKEN_THAT_IS_NONE})  # a request reads it, and so has it looked up
        seen = _rows(pilot)[PROBE]["version"]
        if seen is not None and seen >= number:  # somebody else may rotate it too
            return f"{PROBE} went from version {before} to {seen} without a restart"
        _expect(
            clock() < deadline, f"{PROBE} is at {seen} after {PATIENCE:.0f} s, not at {number}"
        )
        sleep(PAUSE)


# -- the record --------------------------------------------------------------------------------


def keep(verdict: Verdict, path: Path) -> None:
    """Write a verdict to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(verdict), indent=2) + "\n", encoding="utf-8")


def require_passed(desk: Desk, path: Path, *, now: datetime | None = None) -> None:
    """See that the pilot that serves now has passed its test.

    Raises:
        RefusedError: If there is no verdict, it is another's, it failed, or it is too old.
    """
    found = deployed_services(desk).get(access.cloud_name(PILOT))
    if desk.offline:
        return
    try:
        verdict = Verdict(**json.loads(path.read_text(encoding="utf-8")))
        at = datetime.fromisoformat(verdict.at)
    except (OSError, ValueError, TypeError):
        raise _refusal(f"there is no verdict in {path}") from None
    serving = serving_of(found)
    if (verdict.project, verdict.region) != (desk.values.project, desk.values.region):
        raise _refusal("its verdict is of another project or region")
    if not (verdict.passed and verdict.rotated):
        raise _refusal("it has not passed its test, with a rotation")
    if serving != [(verdict.revision, 100)]:
        raise _refusal(f"another revision serves than {verdict.revision}, which was tested")
    if (now or datetime.now(UTC)) - at > timedelta(days=VALID_DAYS):
        raise _refusal(f"its test is more than {VALID_DAYS} days old")
    desk.journal.write("passed", f"The pilot passed its test on {verdict.at}")


def _refusal(why: str) -> RefusedError:
    return RefusedError(
        f"the pilot is not proved: {why}", remedy="Run: pgp-services ops test pilot."
    )


def pilot_target(desk: Desk, tag: str | None) -> tuple[str, str]:
    """Where the deployed pilot is reached, and which revision answers there.

    Raises:
        OpsError: If it is not deployed, or has no revision of that tag.
    """
    found = deployed_services(desk).get(access.cloud_name(PILOT))
    url = url_of(found, tag)
    if url is None:
        raise OpsError(
            f"the pilot is not deployed{f' with the tag {tag}' if tag else ''}",
            remedy="Run: pgp-services ops deploy pilot.",
        )
    if tag is None:
        return url, ",".join(name for name, _ in serving_of(found))
    targets = (found or {})["status"]["traffic"]
    return url, next(each["revisionName"] for each in targets if each.get("tag") == tag)
