"""What a test does to the local Secret Manager: faults, delays, and a log of the calls."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass

from pgp_config.emulator.rules import StatusError, short

#: The codes that a test may have answered; those of gRPC but OK.
CODES = [
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]


#: The permission that a method needs.
PERMISSIONS = {
    "CreateSecret": "secretmanager.secrets.create",
    "GetSecret": "secretmanager.secrets.get",
    "ListSecrets": "secretmanager.secrets.list",
    "UpdateSecret": "secretmanager.secrets.update",
    "DeleteSecret": "secretmanager.secrets.delete",
    "AddSecretVersion": "secretmanager.versions.add",
    "GetSecretVersion": "secretmanager.versions.get",
    "ListSecretVersions": "secretmanager.versions.list",
    "AccessSecretVersion": "secretmanager.versions.access",
    "DisableSecretVersion": "secretmanager.versions.disable",
    "EnableSecretVersion": "secretmanager.versions.enable",
    "DestroySecretVersion": "secretmanager.versions.destroy",
    "SetIamPolicy": "secretmanager.secrets.setIamPolicy",
    "GetIamPolicy": "secretmanager.secrets.getIamPolicy",
    "Projects.GetIamPolicy": "resourcemanager.projects.getIamPolicy",
    "Projects.SetIamPolicy": "resourcemanager.projects.setIamPolicy",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it came.

    Attributes:
        method: Such as "AccessSecretVersion".
        secret: The secret's id, or the parent's name where there is none.
        at: Monotonic seconds.
        caller: The client's user agent; a source's `user_agent` is its beginning.
        code: How it was answered: "OK" or another gRPC code.
    """

    method: str
    secret: str
    at: float
    caller: str
    code: str


#: Calls that are remembered one by one; all are counted.
REMEMBERED = 100_000


class Calls:
    """The calls so far."""

    def __init__(self) -> None:
        self._log: deque[Call] = deque(maxlen=REMEMBERED)
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, call: Call) -> None:
        """Note a call."""
        with self._lock:
            self._log.append(call)
            self._counts[call.method, call.secret, call.caller] += 1

    def log(self) -> list[Call]:
        """The last 100,000 of them, in the order of their answers."""
        with self._lock:
            return list(self._log)

    def count(
        self, method: str | None = None, secret: str | None = None, *, caller: str = ""
    ) -> int:
        """How many there were, of a method, for a secret, of clients whose user agent begins so."""
        return sum(
            number
            for asked, number in self.by_secret(method, caller=caller).items()
            if secret in (None, asked)
        )

    def by_secret(self, method: str | None = None, *, caller: str = "") -> dict[str, int]:
        """How many there were for each secret, of a method, of clients whose user agent begins so."""
        with self._lock:
            counts = list(self._counts.items())
        found: Counter[str] = Counter()
        for (called, secret, asking), number in counts:
            if method in (None, called) and asking.startswith(caller):
                found[secret] += number
        return dict(found)

    def reset(self) -> None:
        """Forget them."""
        with self._lock:
            self._log.clear()
            self._counts.clear()


@dataclass(slots=True)
class _Fault:
    code: str
    method: str | None
    secret: str | None
    left: float
    chance: float


class Hold:
    """Calls that are held back.

    Attributes:
        entered: Set when the first one has come.
    """

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._released = threading.Event()

    def release(self) -> None:
        """Let them go on, and those that come later."""
        self._released.set()

    def pause(self, seconds: float | None = None) -> None:
        """Wait to be released, `seconds` at most."""
        self.entered.set()
        self._released.wait(seconds)


class Controls:
    """Faults and delays by method and secret; None means every one.

    Args:
        seed: For faults by chance, so that a run can be repeated.
    """

    def __init__(self, seed: int = 0) -> None:
        self.calls = Calls()
        self._faults: list[_Fault] = []
        self._denied: set[str] = set()
        self._corrupt: set[str] = set()
        self._forbidden: set[tuple[str, str | None]] = set()
        self._latency: dict[str | None, float] = {}
        self._holds: dict[str | None, Hold] = {}
        self._random = random.Random(seed)  # noqa: S311  faults by chance, no cryptography
        self._lock = threading.Lock()
        self._stopping = Hold()

    def inject(
        self,
        code: str,
        *,
        method: str | None = None,
        secret: str | None = None,
        times: int | None = None,
        chance: float = 1.0,
    ) -> None:
        """Answer calls with a status.

        Args:
            code: A gRPC code's name, such as "UNAVAILABLE".
            method: Only of this method, such as "AccessSecretVersion".
            secret: Only for this secret's id.
            times: How many calls, 1 or more; until `clear_faults()` if None.
            chance: Which share of them, 0 to 1.

        Raises:
            ValueError: If there is no such code.
        """
        if code not in CODES:
            raise ValueError(f"{code!r} is no gRPC code; known are {', '.join(CODES)}")
        left = float("inf") if times is None else times
        with self._lock:
            self._faults.append(_Fault(code, method, secret, left, chance))

    def clear_faults(self) -> None:
        """No more faults, delays, denials, missing permissions, and damaged checksums; what is held goes on."""
        with self._lock:
            holds = list(self._holds.values())
            for kept in (self._faults, self._denied, self._corrupt, self._latency, self._holds):
                kept.clear()
            self._forbidden.clear()
        for hold in holds:
            hold.release()

    def delay(self, seconds: float, secret: str | None = None) -> None:
        """Answer so much later, for one secret or for all."""
        self._latency[secret] = seconds

    def hold(self, secret: str | None = None) -> Hold:
        """Hold back calls for one secret or for all, until released."""
        return self._holds.setdefault(secret, Hold())

    def deny(self, secret: str) -> None:
        """Let nobody access this secret."""
        self._denied.add(secret)

    def allow(self, secret: str) -> None:
        """Let everybody access it again."""
        self._denied.discard(secret)

    def forbid(self, permission: str, secret: str | None = None) -> None:
        """Let nobody have a permission, on one secret or on all: the calls that need it are refused.

        Args:
            permission: Such as "secretmanager.versions.access".
            secret: A secret's id, or None for all.

        Raises:
            ValueError: If no call needs it.
        """
        if permission not in PERMISSIONS.values():
            known = ", ".join(sorted(set(PERMISSIONS.values())))
            raise ValueError(f"{permission!r} is no permission of these calls; known are {known}")
        self._forbidden.add((permission, secret))

    def is_forbidden(self, permission: str, secret: str) -> bool:
        """Whether nobody has that permission on that secret."""
        return bool({(permission, secret), (permission, None)} & self._forbidden)

    def corrupt(self, secret: str) -> None:
        """Send a wrong checksum with this secret's payloads."""
        self._corrupt.add(secret)

    def is_corrupt(self, secret: str) -> bool:
        """Whether its checksum is to be wrong."""
        return secret in self._corrupt

    def before(self, method: str, name: str) -> None:
        """Delay or refuse a call as told. It holds no lock while it waits.

        Raises:
            StatusError: As told.
        """
        secret = short(name)
        for key in (None, secret):
            hold = self._holds.get(key)
            if hold is not None:
                self._wait(hold)
        self._stopping.pause(self._latency.get(secret, self._latency.get(None, 0.0)))
        if secret in self._denied or self.is_forbidden(PERMISSIONS.get(method, ""), secret):
            raise StatusError(
                "PERMISSION_DENIED",
                f"Permission denied on resource [{name}] (or it may not exist).",
            )
        code = self._fault(method, secret)
        if code is not None:
            raise StatusError(code, "A fault that the test asked for.")

    def _wait(self, hold: Hold) -> None:
        hold.pause()

    def _fault(self, method: str, secret: str) -> str | None:
        with self._lock:
            for fault in self._faults:
                if fault.method not in (None, method) or fault.secret not in (None, secret):
                    continue
                if self._random.random() < fault.chance:
                    fault.left -= 1
                    self._faults = [f for f in self._faults if f.left > 0]
                    return fault.code
        return None

    def note(self, method: str, name: str, caller: str, code: str) -> None:
        """Log a call that was answered."""
        self.calls.add(Call(method, short(name), time.monotonic(), caller, code))

    def stopping(self) -> None:
        """Let all who wait go on: the server stops."""
        for hold in list(self._holds.values()):
            hold.release()
        self._stopping.release()

    def starting(self) -> None:
        """Delay again: the server starts."""
        self._stopping = Hold()
