"""What `pgp-config tail` does: looks at a status page again and again, and tells what is new of each process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds of the first and of the longest pause after a fault; each is twice the one before it.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0

#: Events of before that are told of a process when it is first met.
SHOWN_BEFORE = 10

#: Seconds without an answer after which a process is said to be silent, and looks at least.
SILENT_AFTER, SILENT_LOOKS = 60.0, 10

_AUTH = {401, 403}
_PASSING = {408, 429}

Kind = Literal["process", "restart", "silent", "lost", "unreachable", "answers", "event", "ended"]


class Told(NamedTuple):
    """One line.

    Attributes:
        kind: What it is about.
        instance: The process, if it is about one.
        text: For people.
        event: The event as the page has it, if it is one.
        error: What kind of fault ended the command, if one did: this is the last line then.
    """

    kind: Kind
    instance: str | None
    text: str
    event: dict[str, Any] | None = None
    error: str | None = None


class Ended(Exception):  # noqa: N818  it ends the command, and not always for an error
    """There is nothing to follow; the text says why and what to do."""


@dataclass
class Process:
    """A process that has answered.

    Attributes:
        name: How it is called in lines.
        seq: The number of its last event that was told.
        answered: When it last answered, in monotonic seconds.
        looks: How many answers came from others since.
        silent: Whether it was said to be silent.
    """

    name: str
    seq: int
    answered: float
    looks: int = 0
    silent: bool = False


class Follower:
    """Follows one URL, behind which there may be several processes that answer in turn.

    Args:
        client: Has the headers; follows no redirect, which could take them elsewhere.
        url: Of the page's JSON.
        tell: Given each line.
        has_credentials: Whether there is a header: it decides what is advised after a refusal.
        interval: Seconds between two looks.
        wait: Waits for so many seconds; a test gives its own.
        clock: Monotonic seconds; likewise.
    """

    def __init__(
        self,
        client: httpx.Client,
        url: str,
        tell: Callable[[Told], object],
        *,
        has_credentials: bool,
        interval: float,
        wait: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._url, self._tell = client, url, tell
        self._has_credentials = has_credentials
        self._interval, self._wait, self._clock = interval, wait, clock
        self._began = clock()
        self._processes: dict[str, Process] = {}
        self._last: str | None = None
        self._failing_since: float | None = None

    def follow(self) -> NoReturn:
        """Look until there is nothing to follow.

        Raises:
            Ended: If the page refuses, or is none.
        """
        pause = FIRST_PAUSE
        while True:
            fault = self.look()
            if fault is None:
                pause = FIRST_PAUSE
                self._wait(self._interval)
            else:
                self._say("unreachable", None, f"{fault}; trying again in {pause:g} s")
                self._wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def look(self) -> str | None:
        """Look once; why nobody answered, or None.

        Raises:
            Ended: If the page refuses, or is none.
        """
        try:
            response = self._client.get(self._url, params=self._asked())
        except httpx.HTTPError as error:
            return self._failed(f"No answer ({type(error).__name__})")
        status = response.status_code
        if status >= httpx.codes.INTERNAL_SERVER_ERROR or status in _PASSING:
            return self._failed(f"The service answers {status}")
        self._refuse(status)
        self._recovered()
        self._take(_document(response))
        return None

    def _asked(self) -> dict[str, str | int]:
        """What the last process that answered need not tell again; another one tells all it has."""
        if self._last is None:
            return {"after": 0}
        return {"after": self._processes[self._last].seq, "instance": self._last}

    # -- what is no answer -------------------------------------------------------------------

    def _failed(self, why: str) -> str:
        if self._failing_since is None:
            self._failing_since = self._clock()
        return why

    def _recovered(self) -> None:
        if self._failing_since is not None:
            seconds = self._clock() - self._failing_since
            self._failing_since = None
            self._say("answers", None, f"It answers again, after {seconds:.0f} s")

    def _refuse(self, status: int) -> None:
        if status in _AUTH and self._last is not None:
            raise Ended(
                f"The page answers {status}: it no longer accepts these credentials. Were they rotated? Get new ones."
            )
        if status in _AUTH and self._has_credentials:
            raise Ended(
                f"The page answers {status}: it does not accept these credentials. Correct the header."
            )
        if status in _AUTH:
            raise Ended(
                f"The page answers {status}: it wants credentials. Put a header such as 'Authorization: Bearer …' into a "
                "variable, and give its name: --header-env STATUS_HEADER."
            )
        if status == httpx.codes.NOT_FOUND:
            raise Ended(
                "The service answers 404: there is no status page for you there. It is off by default "
                "(install(…, status=StatusPage(auth=…))), has another path, or answers so to whom its auth callable refuses."
            )
        if status != httpx.codes.OK:
            raise Ended(
                f"The service answers {status}, and no status page does. Give the page's own URL; redirects are not followed, "
                "because they could take the header elsewhere."
            )

    # -- what is answered --------------------------------------------------------------------

    def _take(self, document: dict[str, Any]) -> None:
        now = self._clock()
        facts = document["process"]
        instance = str(facts["instance"])
        events = sorted(document["events"], key=lambda event: int(event["seq"]))
        known = self._processes.get(instance)
        if known is None:
            known = self._meet(instance, document, now)
            skipped = max(0, len(events) - SHOWN_BEFORE)
            events = events[skipped:]
        else:
            events = [event for event in events if int(event["seq"]) > known.seq]
            self._tell_of_lost(instance, known, events, int(document["seq"]))
        for event in events:
            self._tell(Told("event", instance, f"{known.name}  {event['text']}", event))
        known.seq = max(known.seq, int(document["seq"]))
        self._answered(instance, known, now)

    def _meet(self, instance: str, document: dict[str, Any], now: float) -> Process:
        facts, container = document["process"], document["container"]
        name = instance.removeprefix(f"{facts['host']}-")
        age = float(facts["watched_for_seconds"])
        text = f"of {facts['host']}: {container['name']}, {len(document['secrets'])} secrets"
        began_meanwhile = self._last is not None and age < now - self._began
        if began_meanwhile:
            self._say("restart", instance, f"Process {name} has started, {age:.0f} s ago, {text}")
        else:
            self._say("process", instance, f"Process {name} {text}")
        self._processes[instance] = Process(name, 0, now)
        return self._processes[instance]

    def _tell_of_lost(
        self, instance: str, known: Process, events: list[dict[str, Any]], newest: int
    ) -> None:
        first = int(events[0]["seq"]) if events else newest + 1
        lost = first - known.seq - 1
        if lost > 0:
            self._say(
                "lost",
                instance,
                f"{known.name}  {lost} events are lost: more happened between two looks than a process keeps. Look more "
                "often (--interval), or in its log",
            )

    def _answered(self, instance: str, known: Process, now: float) -> None:
        if known.silent:
            self._say("answers", instance, f"Process {known.name} answers again")
        known.answered, known.looks, known.silent = now, 0, False
        self._last = instance
        for other, process in self._processes.items():
            if other != instance:
                process.looks += 1
                is_silent = (
                    process.looks >= SILENT_LOOKS and now - process.answered >= SILENT_AFTER
                )
                if is_silent and not process.silent:
                    process.silent = True
                    seconds = now - process.answered
                    self._say(
                        "silent",
                        other,
                        f"Process {process.name} has not answered for {seconds:.0f} s: it has ended, or others take its requests",
                    )

    def _say(self, kind: Kind, instance: str | None, text: str) -> None:
        self._tell(Told(kind, instance, f"{text}."))


def _document(response: httpx.Response) -> dict[str, Any]:
    """The page's JSON.

    Raises:
        Ended: If it is something else, such as a page to log in.
    """
    try:
        document: dict[str, Any] = response.json()
        facts = document["process"]
        _ = (
            facts["instance"],
            facts["host"],
            float(facts["watched_for_seconds"]),
            int(document["seq"]),
        )
        _ = (document["container"]["name"], len(document["secrets"]))
        _ = [
            (int(event["seq"]), event["at"], event["level"], event["text"])
            for event in document["events"]
        ]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Ended(
            "What answers there is no status page of pgp_config, but something else (a page to log in?). Give the URL of the "
            "page, such as https://my-service.example/_secrets."
        ) from None
    return document
