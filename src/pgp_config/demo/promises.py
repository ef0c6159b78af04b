"""What the demonstration measured, and which promises were kept."""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds beyond `max_age` that a slow machine may take to use a new version.
SLACK = 3.0


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise of the library.

    Attributes:
        kept: Whether it was kept.
        text: What was promised, with what was measured.
    """

    kept: bool
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What was measured.

    Attributes:
        seconds: How long the service was under load.
        requests: How many requests it answered or failed to.
        failed: Of those, how many failed.
        torn: How many saw two versions of the key.
        by_version: Requests by the version of the key that they used.
        uptake: Seconds from the rotation to the first request with the new version; None if there was none.
        max_age: What the container was told, in seconds.
        in_outage: Requests while the source was away.
        calls: Calls to the source for the key, all in all.
        static_calls: Calls for the static secret after the start.
        lines: Lines of the log.
        leaks: Of those, how many held a value.
    """

    seconds: float
    requests: int
    failed: int
    torn: int
    by_version: dict[int, int]
    uptake: float | None
    max_age: float
    in_outage: int
    calls: int
    static_calls: int
    lines: int
    leaks: int

    def promises(self) -> list[Promise]:
        """All of them, each with its measure."""
        uptake = "never" if self.uptake is None else f"after {self.uptake:.1f} s"
        in_time = self.uptake is not None and self.uptake <= self.max_age + SLACK
        calls_at_most = 2 * (self.seconds / self.max_age + 1) + 4
        return [
            Promise(
                not self.failed and self.requests > 0,
                f"{self.requests:,} requests, {self.failed:,} failed",
            ),
            Promise(
                in_time,
                f"the new key was used {uptake}, without a restart (max_age is {self.max_age:g} s)",
            ),
            Promise(not self.torn, f"{self.torn:,} requests saw two versions of the key"),
            Promise(
                self.in_outage > 0,
                f"{self.in_outage:,} requests were served with the last good key while Secret Manager was away",
            ),
            Promise(
                0 < self.calls <= calls_at_most,
                f"{self.calls:,} calls to Secret Manager for the key: they follow the clock, not the requests",
            ),
            Promise(
                not self.static_calls,
                f"the static secret was asked for {self.static_calls:,} times while serving",
            ),
            Promise(
                not self.leaks, f"{self.leaks:,} of {self.lines:,} lines of the log show a value"
            ),
        ]
