"""The course of the demonstration: what happens when, under load."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgp_config.demo.promises import Facts
from pgp_config.demo.stage import API_KEY, MAX_AGE, SIGNING_KEY, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Cue:
    """Something that happens.

    Attributes:
        at: Seconds after the beginning.
        told: What it is, for the spectator.
        act: Does it.
    """

    at: float
    told: str
    act: Callable[[Stage], object]


#: What happens: nobody waits longer than ten seconds.
CUES = (
    Cue(1.5, "the key is rotated: version 2 is added", Stage.rotate),
    Cue(4.0, "version 1 is disabled, and the partner refuses it", Stage.revoke),
    Cue(5.0, "Secret Manager goes away", Stage.leave),
    Cue(7.0, "Secret Manager is back", Stage.come_back),
    Cue(8.0, "the end", lambda _: None),
)


class Show:
    """Plays the cues under load.

    Args:
        stage: What it is played on.
        tell: Given each cue's second, what happened, and the stage.
        wait: Waits for so many seconds; a test gives its own.
    """

    def __init__(
        self,
        stage: Stage,
        tell: Callable[[Cue, Stage], object],
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._stage, self._tell, self._wait = stage, tell, wait

    def run(self, cues: Sequence[Cue] = CUES) -> Facts:
        """Play them all; what was measured."""
        stage = self._stage
        static_before = stage.source.calls[SIGNING_KEY]
        marks: dict[str, tuple[float, int]] = {}
        began, at = time.monotonic(), 0.0
        with stage.load():
            for cue in cues:
                self._wait(cue.at - at)
                at = cue.at
                # Before: the new version may be in use while the call that adds it returns.
                marks[cue.told] = (time.monotonic(), stage.requests)
                cue.act(stage)
                self._tell(cue, stage)
        seconds = time.monotonic() - began
        rotated, _ = marks[cues[0].told]
        first = stage.first_use.get(2)
        return Facts(
            seconds=seconds,
            requests=stage.requests,
            failed=stage.failed,
            torn=stage.torn,
            by_version=dict(stage.by_version),
            uptake=None if first is None else max(0.0, first - rotated),
            max_age=MAX_AGE,
            in_outage=marks[cues[3].told][1] - marks[cues[2].told][1],
            calls=stage.source.calls[API_KEY],
            static_calls=stage.source.calls[SIGNING_KEY] - static_before,
            lines=len(stage.log.lines),
            leaks=stage.leaks(),
        )
