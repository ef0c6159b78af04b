"""Services as people type them: by their whole name, or without the fleet's prefix and the version."""

from __future__ import annotations

import difflib

import typer

from pgp_services.names import Service

#: What each spelling means, in small letters: `pgp_split2_v1`, `pgp_split2` and `split2`.
_SPELLINGS = {
    spelling.lower(): service
    for service in Service
    for spelling in (service, service.removesuffix("_v1"), service.short)
}


def service_named(text: str) -> Service:
    """The service that is meant.

    Args:
        text: Its name, in capitals or not, with or without `PGP_` and `_v1`.

    Raises:
        typer.BadParameter: If there is none; those with names like it are told.
    """
    service = _SPELLINGS.get(text.lower().replace("-", "_"))
    if service is None:
        raise typer.BadParameter(f"there is no service {text!r}. {_hint(text)}")
    return service


def _hint(text: str) -> str:
    near = difflib.get_close_matches(text.lower(), _SPELLINGS, n=9)
    names = list(dict.fromkeys(_SPELLINGS[spelling].short for spelling in near))[:3]
    if names:
        return f"Did you mean {' or '.join(names)}?"
    return "`pgp-services list` shows the seventeen."
