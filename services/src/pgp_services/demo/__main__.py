"""Runs the demo: `python -m pgp_services.demo`."""

from __future__ import annotations

import argparse
import secrets as random_secrets
import sys
import time
from collections import Counter
from dataclasses import dataclass
from http.client import UNAUTHORIZED
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rich.console import Console

from pgp_config import Freshness
from pgp_services.demo.load import Load
from pgp_services.demo.report import OK, Facts, show
from pgp_services.demo.stage import WORKERS, Stage, static_names
from pgp_services.stage.processes import THREADS, StageFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgp_services.demo.load import Outcome

#: Seconds of the two parts: the comparison while nothing happens, and the show; and how many of the
#: former pass before anything is measured, because first requests open connections.
CALM, SHOW, WARM_UP = 7.0, 24.0, 2.0

#: Requests a second that are sent; a slow machine takes fewer.
RATE = 200.0

#: The same for the comparison, of both services together: few enough for a small machine to answer at
#: once, because what is compared is latency and not the queue for two cores.
CALM_RATE = 60.0

SENDERS = 12


@dataclass(frozen=True, slots=True)
class Cue:
    """Something that happens during the show.

    Attributes:
        at: Seconds after its beginning.
        told: What it is, for the spectator.
        act: Does it.
    """

    at: float
    told: str
    act: Callable[[], object]


class Show:
    """The pilot under load while its secrets rotate.

    Args:
        stage: Everything that runs.
        console: Where it is told.
        rate: Requests a second.
    """

    def __init__(self, stage: Stage, console: Console, rate: float) -> None:
        self._stage = stage
        self._console = console
        self._rate = rate
        self._rotated_at = 0.0
        self._key_before = 0
        self._seen_before = 0

    def run(self) -> Facts:
        """Compare, then rotate under load; what was measured."""
        warm = self._compare()
        self._stage.manager.calls.reset()
        self._seen_before = len(self._stage.changenow.seen)
        tasks_before = Counter(self._stage.tasks.count())
        began = time.monotonic()
        outcomes = self._perform(self._cues())
        seconds = time.monotonic() - began
        return self._facts(
            outcomes, seconds, warm, Counter(self._stage.tasks.count()) - tasks_before
        )

    def _compare(self) -> Sequence[Outcome]:
        self._console.print(
            f"[bold]Calm:[/] {CALM:.0f} s of few requests, in turn to the pilot and to the same "
            "pilot with constant values"
        )
        ports = [self._stage.live.port, self._stage.constant.port]
        load = Load(ports, self._stage.signing_key, min(self._rate, CALM_RATE), SENDERS)
        load.start()
        measured_from = time.monotonic() + WARM_UP
        time.sleep(CALM)
        return [outcome for outcome in load.stop() if outcome.began >= measured_from]

    def _perform(self, cues: Sequence[Cue]) -> Sequence[Outcome]:
        self._console.print(f"[bold]Show:[/] {SHOW:.0f} s at {self._rate:.0f} requests a second")
        load = Load([self._stage.live.port], self._stage.signing_key, self._rate, SENDERS)
        load.start()
        try:
            self._play(load, list(cues))
        finally:
            outcomes = load.stop()
        return outcomes

    def _play(self, load: Load, cues: list[Cue]) -> None:
        began = time.monotonic()
        for second in range(1, int(SHOW) + 1):
            while cues and cues[0].at <= second:
                self._wait_until(began + cues[0].at)
                cue = cues.pop(0)
                cue.act()
                self._console.print(f"  [bold cyan]{cue.at:4.0f} s  {cue.told}[/]")
            self._wait_until(began + second)
            self._tell(second, load.outcomes)

    def _wait_until(self, moment: float) -> None:
        time.sleep(max(0.0, moment - time.monotonic()))

    def _tell(self, second: int, outcomes: Sequence[Outcome]) -> None:
        failures = sum(outcome.status != OK for outcome in outcomes)
        newest = max(self._stage.changenow.requests_by_version(), default=1)
        self._console.print(
            f"  {second:4d} s  {len(outcomes):6,} requests  {failures} failed  "
            f"newest key in use: version {newest}",
            style="red" if failures else "dim",
        )

    def _cues(self) -> Sequence[Cue]:
        manager = self._stage.manager
        return [
            Cue(
                3,
                "the API key is rotated, and the old one revoked at the same moment",
                self._rotate,
            ),
            Cue(
                7,
                "PGP_SPLIT1_URL is switched from blue to green",
                lambda: manager.add("PGP_SPLIT1_URL", "https://split1-green.pgp.example"),
            ),
            Cue(
                8,
                "PGP_SPLIT1_RESPONSE_QUEUE is switched from blue to green",
                lambda: manager.add("PGP_SPLIT1_RESPONSE_QUEUE", "split1-response-green"),
            ),
            Cue(
                9,
                "the old version of the key is disabled in Secret Manager",
                lambda: manager.disable("CHANGENOW_API_KEY", 1),
            ),
            Cue(15, "Secret Manager is stopped", manager.stop),
            Cue(20, "Secret Manager is started again", manager.start),
        ]

    def _rotate(self) -> None:
        stage, key = self._stage, random_secrets.token_hex(32)
        stage.changenow.rotate(key, lambda: stage.manager.add("CHANGENOW_API_KEY", key))
        self._rotated_at = time.monotonic()

    def _facts(
        self,
        outcomes: Sequence[Outcome],
        seconds: float,
        warm: Sequence[Outcome],
        tasks: Counter[tuple[str, str]],
    ) -> Facts:
        seen = self._stage.changenow.seen[self._seen_before :]
        old = [s for s in seen if s.version == 1 and s.at > self._rotated_at]
        calls = self._stage.manager.calls.by_secret("AccessSecretVersion")
        return Facts(
            outcomes=outcomes,
            seconds=seconds,
            warm_live=[o.seconds for o in warm if o.target == 0],
            warm_constant=[o.seconds for o in warm if o.target == 1],
            key_requests=Counter(request.version for request in seen),
            old_key_accepted=sum(request.status == OK for request in old),
            old_key_last_use=max((s.at - self._rotated_at for s in old), default=0.0),
            old_key_refused=self._old_key_is_refused(),
            tasks=tasks,
            calls=calls,
            static_calls=sum(calls.get(name, 0) for name in static_names()),
            max_age=Freshness().age_limit + 1,
        )

    def _old_key_is_refused(self) -> bool:
        stage = self._stage
        request = Request(  # noqa: S310  our own server
            f"{stage.changenow.url}/v2/exchange/estimated-amount",
            headers={"x-changenow-api-key": stage.values["CHANGENOW_API_KEY"]},
        )
        try:
            urlopen(request, timeout=5).close()  # noqa: S310  as above
        except HTTPError as refusal:
            at_changenow = refusal.code == UNAUTHORIZED
            refusal.close()
        else:
            at_changenow = False
        return at_changenow and stage.is_disabled("CHANGENOW_API_KEY", 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 if every promise was kept."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--rate", type=float, default=RATE, help="requests a second (%(default)s)")
    options = parser.parse_args(arguments)
    console = Console()
    console.print(
        f"Starting a local Secret Manager, ChangeNow, Cloud Tasks and the pilot PGP_SPLIT2_v1 "
        f"(gunicorn, {WORKERS} workers of {THREADS} threads) …"
    )
    try:
        with Stage() as stage:
            facts = Show(stage, console, options.rate).run()
    except StageFailed as failure:
        console.print(str(failure), style="red")
        return 1
    show(facts, console)
    broken = facts.broken_promises()
    for promise in broken:
        console.print(f"NOT KEPT: {promise}", style="bold red")
    if not broken:
        console.print("Every promise was kept.", style="bold green")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
