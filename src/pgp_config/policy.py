"""The rules a declaration is held to: how fresh a value must be, which names must stay static, what is pinned."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, TypeAlias

from pgp_config.errors import DeclarationError
from pgp_config.facts import Fact, fact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Environment variables with the default `max_age` and `max_stale` of a process, in seconds.
MAX_AGE_VARIABLE, MAX_STALE_VARIABLE = "PGP_CONFIG_MAX_AGE", "PGP_CONFIG_MAX_STALE"

#: Environment variable with the version numbers at which a process loads static secrets.
PINNED_VARIABLE = "PGP_CONFIG_PINNED"

#: One pin of that variable: a secret's name and a version's number.
_PIN = re.compile(r"\s*([^=,\s]+)=([1-9][0-9]{0,9})\s*", re.ASCII)

#: Environment variable with the URL of the store to which processes report the versions that they use.
UPTAKE_VARIABLE = "PGP_CONFIG_UPTAKE"

#: Seconds for which a last good value is served in an outage, unless a Freshness says otherwise.
DEFAULT_MAX_STALE = 3600.0

#: Names that no `DynamicSecret` may have: what they hold signs, decrypts, pays or logs in.
PROTECTED_NAMES = (
    "*PRIVATE_KEY*",
    "*SIGNING_KEY*",
    "*PASSWORD*",
    "*MNEMONIC*",
    "*SEED_PHRASE*",
    "*JWT_SECRET*",
)


def seconds(duration: float | timedelta, *, what: str) -> float:
    """A duration as seconds.

    Args:
        duration: Seconds or a `timedelta`, 0 or more and finite.
        what: What the duration is, for the error.

    Raises:
        DeclarationError: If it is negative, infinite or not a number.
    """
    number = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise DeclarationError(f"{what} is a {type(number).__name__}", remedy=_SECONDS_WANTED)
    if not 0 <= number < math.inf:
        raise DeclarationError(f"{what} is {number}", remedy=_SECONDS_WANTED)
    return float(number)


_SECONDS_WANTED = "Give seconds as a number, or a timedelta; 0 or more, and finite."


@fact
class Freshness(Fact):
    """How old a value may be when a scope reads it for the first time.

    Attributes:
        max_age: Seconds (or timedelta) since the source confirmed the value as the newest, 0 or more.
            0 means: asked for by each scope anew.
        max_stale: Seconds (or timedelta) for which the last good value is served past its
            confirmation when the source does not answer; `max_age` or more.
    """

    max_age: float | timedelta = 5.0
    max_stale: float | timedelta = DEFAULT_MAX_STALE

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_age", seconds(self.max_age, what="max_age"))
        object.__setattr__(self, "max_stale", seconds(self.max_stale, what="max_stale"))
        if self.stale_limit < self.age_limit:
            raise DeclarationError(
                f"max_stale ({self.max_stale} s) is shorter than max_age ({self.max_age} s)",
                remedy="Raise max_stale: it counts from the same confirmation as max_age.",
            )

    @property
    def age_limit(self) -> float:
        """`max_age` in seconds."""
        return self.max_age  # type: ignore[return-value]  # normalised above

    @property
    def stale_limit(self) -> float:
        """`max_stale` in seconds."""
        return self.max_stale  # type: ignore[return-value]  # normalised above

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Freshness:
        """The default of a process: `PGP_CONFIG_MAX_AGE` in seconds, else 5 s; `PGP_CONFIG_MAX_STALE`, else 1 h.

        Raises:
            DeclarationError: If a variable is not a duration, or the second is shorter than the first.
        """
        given = _duration(environ, MAX_AGE_VARIABLE)
        max_age = cls().age_limit if given is None else given
        max_stale = _duration(environ, MAX_STALE_VARIABLE)
        return cls(max_age, max(max_age, DEFAULT_MAX_STALE) if max_stale is None else max_stale)


def refuse_other_than_freshness(given: object) -> None:
    """Refuse what is given as freshness and is none; a bare 0 would else pass for "not given".

    Raises:
        DeclarationError: If it is neither a `Freshness` nor None.
    """
    if given is not None and not isinstance(given, Freshness):
        raise DeclarationError(
            f"its freshness is a {type(given).__name__}",
            remedy="Give Freshness(max_age=5), in seconds, or EVERY_REQUEST.",
        )


def _duration(environ: Mapping[str, str], variable: str) -> float | None:
    text = environ.get(variable)
    if text is None:
        return None
    try:
        return seconds(float(text), what=variable)
    except ValueError:
        raise DeclarationError(
            f"the environment variable {variable} is not a duration",
            remedy="Set it to seconds, such as 5 or 0.5, or unset it.",
        ) from None


#: Each scope sees a value that was asked for after the scope began.
EVERY_REQUEST = Freshness(max_age=0)


#: Whether a secret is loaded once or picked up without a restart.
ReloadClass: TypeAlias = Literal["static", "dynamic"]


@fact
class ReloadPolicy(Fact):
    """Which names may not be dynamic, and which may be declared at all.

    Attributes:
        protected: Globs, matched against the name in upper case.
        exceptions: Names that may be dynamic all the same, each with the reason.
        allowed: The names that may be declared and nothing else, each with its class; None for any
            name. A dynamic one whose name is protected needs its exception all the same.
    """

    protected: Iterable[str] = PROTECTED_NAMES
    exceptions: Mapping[str, str] | None = None
    allowed: Mapping[str, ReloadClass] | None = None

    def __post_init__(self) -> None:
        globs = self.protected
        if isinstance(globs, str):
            raise DeclarationError(
                "the protected names of a ReloadPolicy are one string",
                remedy="Give a tuple of globs, such as PROTECTED_NAMES + ('*_WALLET_*',).",
            )
        object.__setattr__(self, "protected", tuple(glob.upper() for glob in globs))
        object.__setattr__(self, "exceptions", dict(self.exceptions or {}))
        for name, reason in (self.exceptions or {}).items():
            if not isinstance(reason, str) or not reason.strip():
                raise DeclarationError(
                    "its exception in the ReloadPolicy has no reason",
                    remedy="Say why it may be dynamic: exceptions={'NAME': 'the reason'}.",
                    secret=name,
                )
        if self.allowed is not None:
            object.__setattr__(self, "allowed", dict(self.allowed))
            _refuse_other_classes(self.allowed)

    def protects(self, name: str) -> bool:
        """Whether a name says that what it holds is a key or a password, also where an exception lets it be dynamic."""
        return self._glob_of(name) is not None

    def _glob_of(self, name: str) -> str | None:
        return next((glob for glob in self.protected if fnmatchcase(name.upper(), glob)), None)

    def fault_of(self, name: str, *, dynamic: bool = True) -> DeclarationError | None:
        """Why this name may not be declared so, or None if it may.

        Args:
            name: The secret's name.
            dynamic: Whether it is declared dynamic.
        """
        return self._listing_fault(name, dynamic) or (self._name_fault(name) if dynamic else None)

    def _listing_fault(self, name: str, dynamic: bool) -> DeclarationError | None:
        if self.allowed is None:
            return None
        declared = "dynamic" if dynamic else "static"
        listed = self.allowed.get(name)
        if listed is None:
            return DeclarationError(
                f"is declared {declared}, and is none of the {len(self.allowed)} names that its ReloadPolicy allows",
                remedy="Remove it, or have it allowed where the policy is made.",
                secret=name,
            )
        if listed == declared:
            return None
        return DeclarationError(
            f"is declared {declared}, and its ReloadPolicy allows it as {listed} only",
            remedy=f"Declare it as {listed.capitalize()}Secret.",
            secret=name,
        )

    def _name_fault(self, name: str) -> DeclarationError | None:
        glob = self._glob_of(name)
        if glob is None or name in (self.exceptions or {}):
            return None
        return DeclarationError(
            f"is declared dynamic, and its name is protected by the glob {glob!r}",
            remedy="Declare it as StaticSecret. If it can never sign, decrypt or pay, name it with "
            f"the reason: reload_policy = ReloadPolicy(exceptions={{{name!r}: 'why'}}).",
            secret=name,
        )


def _refuse_other_classes(allowed: Mapping[str, str]) -> None:
    for name, listed in allowed.items():
        if listed not in ("static", "dynamic"):
            raise DeclarationError(
                "is allowed by the ReloadPolicy as neither 'static' nor 'dynamic'",
                remedy="Say which: allowed={'NAME': 'dynamic'}.",
                secret=name,
            )


def pins_from_environ(environ: Mapping[str, str]) -> dict[str, int]:
    """The pinned versions of a process: `PGP_CONFIG_PINNED="NAME=7,OTHER=3"`, else none.

    Raises:
        DeclarationError: If the variable is not such a list; nothing of it is shown.
    """
    text = environ.get(PINNED_VARIABLE, "")
    found = [_PIN.fullmatch(part) for part in text.split(",")] if text.strip() else []
    pins = {match[1]: int(match[2]) for match in found if match}
    if len(pins) != len(found):
        raise DeclarationError(
            f"the environment variable {PINNED_VARIABLE} is no list of names and version numbers",
            remedy="Write each name once, with a number of 1 or more: NAME=7,OTHER=3.",
        )
    return pins


def faults_of_pins(
    pins: Mapping[str, int], declared: Mapping[str, ReloadClass]
) -> list[DeclarationError]:
    """What is wrong with the pinned versions of a container.

    Args:
        pins: A version's number for each pinned secret.
        declared: The class of each secret of the container, by name.
    """
    faults = [_fault_of_pin(name, pins[name], declared.get(name)) for name in sorted(pins)]
    return [fault for fault in faults if fault is not None]


def _fault_of_pin(
    name: str, number: object, declared: ReloadClass | None
) -> DeclarationError | None:
    if declared is None:
        return DeclarationError(
            "is pinned to a version, and the container does not declare it",
            remedy=f"Remove it from {PINNED_VARIABLE} or pinned=…; a second container of the process takes its own: "
            "pinned={}.",
            secret=name,
        )
    if declared == "dynamic":
        return DeclarationError(
            "is pinned to a version, and is dynamic: its rotations would never be seen",
            remedy=f"Remove it from {PINNED_VARIABLE} or pinned=…: only static secrets are pinned.",
            secret=name,
        )
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        return DeclarationError(
            "is pinned to what is no version number",
            remedy="Give a whole number, 1 or more.",
            secret=name,
        )
    return None
