"""What stops a rotation."""

from __future__ import annotations

from typing import ClassVar

from pgp_config.errors import PgpConfigError


class RotationStopped(PgpConfigError):  # noqa: N818  the name is what happened
    """A rotation cannot go on: what is there is not what it left there, or a value may not be added."""

    explained_as: ClassVar[str] = "RotationStopped"
