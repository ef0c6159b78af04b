"""The words of the status page: the document of `Status` as texts for people, by field.

The one place that words it: what a page shows when it is loaded, and what its script puts there later, are
the same texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Events that a page lists.
LISTED_EVENTS = 50

_MINUTE, _HOUR, _DAY = 60, 3600, 86400

#: A space at which no line is broken.
_NBSP = "\N{NO-BREAK SPACE}"

#: Below this many seconds a tenth is shown.
_TENTHS_BELOW = 10

#: By state: its word, how urgent it is, and a sign, for those who do not see the colour.
_STATES = {
    "missing": ("Missing", "bad", "✕"),
    "stale": ("Stale", "warn", "▲"),
    "failing": ("Failing", "warn", "▲"),
    "rejected": ("Rejected", "warn", "▲"),
    "sealed": ("Sealed", "calm", "■"),
    "unread": ("Not read yet", "calm", "○"),
    "fresh": ("Fresh", "good", "●"),
    "idle": ("Idle", "calm", "○"),
}

#: Tones of states in which somebody should do something.
_URGENT = {"bad", "warn"}


def words_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """All texts of a page.

    Args:
        document: What `Status.snapshot` gives.

    Returns:
        `fields`, by name; `secrets`, fields in the order of the document; `events`, the oldest first.
    """
    container = document["container"]["name"]
    secrets = [_secret(row, container) for row in document["secrets"]]
    return {
        "fields": _process(document) | _summary(secrets),
        "secrets": secrets,
        "events": [_event(event) for event in document["events"][-LISTED_EVENTS:]],
    }


def _process(document: Mapping[str, Any]) -> dict[str, str]:
    container, process = document["container"], document["process"]
    bounds = [duration(container[f"{bound}_seconds"]) for bound in ("max_age", "max_stale")]
    return {
        "as_of": _clock(document["at"]),
        "container": container["name"],
        "source": container["source"],
        "freshness": f"max_age {bounds[0]}, max_stale {bounds[1]}",
        "push": _push(container["push"]),
        "process": f"{process['pid']} on {process['host']}",
        "watched": f"for {duration(process['watched_for_seconds'])}",
    }


def _push(push: Mapping[str, Any] | None) -> str:
    if push is None:
        return "none; max_age holds"
    if push["kind"] == "endpoint":
        return f"endpoint at {push['path']}"
    if push["listening"]:
        return f"listening to {push['subscription']}"
    return "not listening now; max_age holds"


def _summary(secrets: Sequence[Mapping[str, str]]) -> dict[str, str]:
    urgent = [secret["name"] for secret in secrets if secret["tone"] in _URGENT]
    if not urgent:
        return {
            "summary": f"Nothing needs attention: {_count(len(secrets), 'secret')}.",
            "tone": "good",
        }
    worst = "bad" if any(secret["tone"] == "bad" for secret in secrets) else "warn"
    need = "needs" if len(urgent) == 1 else "need"
    return {
        "summary": f"{len(urgent)} of {_count(len(secrets), 'secret')} {need} attention: "
        f"{', '.join(urgent)}.",
        "tone": worst,
    }


def _secret(row: Mapping[str, Any], container: str) -> dict[str, str]:
    word, tone, sign = _STATES[row["state"]]
    age, age_note = _age(row)
    change, change_note = _change(row["last_change"])
    error, error_note = _error(row["last_error"], f"{row['name']} in {container}: ")
    return {
        "name": row["name"],
        "name_note": f"{row['kind']}, {row['type']}",
        "tone": tone,
        "sign": sign,
        "state": word,
        "state_note": _sentence(_state_notes(row)),
        "version": "none" if row["version"] is None else str(row["version"]),
        "version_note": _sentence(_version_notes(row)),
        "age": age,
        "age_note": age_note,
        "change": change,
        "change_note": change_note,
        "error": error,
        "error_note": error_note,
        "calls": str(row["calls"]["made"]),
        "calls_note": _sentence(_call_notes(row)),
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _sentence(parts: Sequence[str]) -> str:
    return "; ".join(parts)


def _state_notes(row: Mapping[str, Any]) -> list[str]:
    max_stale = duration(row["max_stale_seconds"])
    notes = {
        "missing": [
            "there has been no value yet: reads fail"
            if row["version"] is None
            else f"the last good value is older than max_stale, {max_stale}: reads fail"
        ],
        "stale": [f"the last good value is served until it is {max_stale} old"],
        "failing": ["the value is still within max_age"],
        "rejected": ["a newer version may not be served; this one stays"],
        "sealed": ["loaded at start-up; a restart reads it anew"],
        "unread": ["loaded; no request has read it"],
        "fresh": [],
        "idle": ["nothing reads it; the next read confirms it first"],
    }[row["state"]]
    if row["failing_for_seconds"] is not None:
        notes.append(f"the source has failed for {duration(row['failing_for_seconds'])}")
    if row["retry_in_seconds"] is not None:
        notes.append(f"paused: not asked again for {duration(row['retry_in_seconds'])}")
    if row["read_seconds_ago"] is not None:
        notes.append(f"read {duration(row['read_seconds_ago'])} ago")
    return notes


def _version_notes(row: Mapping[str, Any]) -> list[str]:
    others = [str(number) for number in row["versions_in_use"] if number != row["version"]]
    rejected = [str(number) for number in row["rejected_versions"]]
    notes = [f"{', '.join(others)} still in use"] if others else []
    notes += [f"{', '.join(rejected)} rejected"] if rejected else []
    newer = row["newer_version"]
    return notes if newer is None else [*notes, f"{newer} waits for a restart"]


def _age(row: Mapping[str, Any]) -> tuple[str, str]:
    age = row["age_seconds"]
    if age is None:
        return "none", "never confirmed"
    if row["kind"] == "static":
        return duration(age), "not asked again"
    if row["max_age_seconds"] == 0:
        return duration(age), "asked by each request"
    return duration(age), f"max_age {duration(row['max_age_seconds'])}"


def _change(change: Mapping[str, Any] | None) -> tuple[str, str]:
    if change is None:
        return "none", "none seen"
    old, new = change["old_version"], change["version"]
    text = f"loaded {new}" if old is None else f"{old} → {new}"
    return text, f"{duration(change['seconds_ago'])} ago, at {_clock(change['at'])}"


def _error(error: Mapping[str, Any] | None, where: str) -> tuple[str, str]:
    if error is None:
        return "none", ""
    text = error["text"].removeprefix(where)
    if error["explained_as"] is not None:
        text += f" (pgp-config explain {error['explained_as']})"
    return error["type"], f"{duration(error['seconds_ago'])} ago: {text}"


def _call_notes(row: Mapping[str, Any]) -> list[str]:
    failed, stale = row["calls"]["failed"], row["stale_reads"]
    notes = [f"{failed} failed"] if failed else []
    return [*notes, _count(stale, "stale read")] if stale else notes


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: event[name] for name in ("seq", "at", "level", "text")}
    return {**shown, "time": _clock(event["at"])}


def _clock(moment: str) -> str:
    """The time of day of an RFC 3339 text in UTC, to the second."""
    return f"{moment[11:19]} UTC"


def duration(seconds: float) -> str:
    """A duration in one or two units, on one line: "3.2 s", "42 s", "5 min", "3 h 5 min", "4 d 2 h"."""
    if seconds < _TENTHS_BELOW:
        return f"{round(seconds, 1):g}{_NBSP}s"
    if seconds < _MINUTE:
        return f"{int(seconds)}{_NBSP}s"
    if seconds < _HOUR:
        return _two_units(int(seconds), _MINUTE, "min", 1, "s")
    if seconds < _DAY:
        return _two_units(int(seconds), _HOUR, "h", _MINUTE, "min")
    return _two_units(int(seconds), _DAY, "d", _HOUR, "h")


def _two_units(seconds: int, large: int, name: str, small: int, rest_name: str) -> str:
    whole, rest = divmod(seconds, large)
    rest //= small
    parts = [str(whole), name, str(rest), rest_name] if rest else [str(whole), name]
    return _NBSP.join(parts)
