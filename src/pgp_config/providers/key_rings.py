"""A key ring as a provider: the current and the previous version of one key."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_args, get_origin, overload

from pgp_config.errors import DeclarationError, RejectedVersion
from pgp_config.key_rings import Keys
from pgp_config.policy import seconds
from pgp_config.providers import names
from pgp_config.providers.secrets import DynamicSecret, SecretProvider

if TYPE_CHECKING:
    from pydantic import SecretStr
    from typing_extensions import TypeForm

    from pgp_config.policy import Freshness

K = TypeVar("K")

#: How long the previous key verifies, unless a ring says otherwise; see `KeyRing` for why.
GRACE = timedelta(hours=24)


class KeyRing(DynamicSecret[Keys[K]]):
    """A key that others sign with, or that verifies what was signed before: two versions in use at once.

    Its value is a `Keys`: the current version, which signs, and the one before it by number, which
    still verifies for the grace. That one is fetched with the current one and confirmed with each
    refresh; where it is disabled, destroyed, missing or rejected it is left out, and none is looked
    for further down. Past the grace no call is spent on it.

    The grace counts from when this process first saw the current version take the place of a lower
    one; for a process that was started after the rotation, from its start, because asking for the
    date of a version has a quota of 600 calls a minute. What ends an overlap everywhere is disabling
    the old version, as `pgp-config rotate` does. A rollback begins no new grace: from 8 back to 7,
    version 6 is in use for as long as it would have been without 8, and 8 is never looked at again.

    Why 24 h: it is the life of the tokens of this project's services, the longest overlap that Stripe
    offers when a webhook's secret is rolled, and a night in which a sender's operator, who has to
    enter the new key, is asleep. A leaked key is not left in service for it: disable its version,
    and it is out within `max_age`. Sessions that live longer need a grace as long as they live.

    Args:
        name: Its name in the source. The names that `ReloadPolicy` protects need an exception with
            the reason, as for every dynamic secret.
        declared: The type of each key: `SecretStr`, `SecretBytes` or `bytes`, also `Annotated`.
        grace: Seconds (or timedelta) for which the previous version verifies, 0 or more.
        freshness: Its own bounds, in place of its container's.

    Raises:
        DeclarationError: If the name is empty, the type is none of these, or the grace no duration.
    """

    @overload
    def __init__(
        self: KeyRing[SecretStr],
        name: str,
        *,
        grace: float | timedelta = GRACE,
        freshness: Freshness | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        name: str,
        declared: TypeForm[K],
        *,
        grace: float | timedelta = GRACE,
        freshness: Freshness | None = None,
    ) -> None: ...
    def __init__(
        self,
        name: str,
        declared: TypeForm[Any] | None = None,
        *,
        grace: float | timedelta = GRACE,
        freshness: Freshness | None = None,
    ) -> None:
        _refuse_type(name, declared)
        try:
            length = seconds(grace, what="grace")
        except DeclarationError as fault:
            raise fault.located(secret=names.shown(name)) from None
        SecretProvider.__init__(self, name, declared, freshness, length)

    __slots__ = ()

    def _given(self, value: object) -> Keys[K]:
        """Keys as they are, a pair as current and previous, or the current one alone."""
        if isinstance(value, Keys):
            return value
        decode = self._spec.decoder.given
        if not isinstance(value, tuple):
            return Keys(cast("K", decode(value)), 1)
        if len(value) != len(("current", "previous")):
            raise RejectedVersion(
                f"the value given is a tuple of {len(value)}",
                remedy="Give a key, or a pair: the current and the previous one.",
            )
        current, previous = value
        return Keys(cast("K", decode(current)), 2, cast("K", decode(previous)), 1)


def _refuse_type(name: str, declared: object) -> None:
    from pydantic import SecretBytes, SecretStr  # noqa: PLC0415  slow to import

    while get_origin(declared) is Annotated:
        declared = get_args(declared)[0]
    if isinstance(declared, type) and not issubclass(declared, (SecretStr, SecretBytes, bytes)):
        raise DeclarationError(
            f"is a key ring of {declared.__name__}, which is no key",
            remedy="Declare SecretStr, SecretBytes or bytes, or Annotated of one of them.",
            secret=names.shown(name),
        )
