"""What each service is asked: requests that it answers at any time, each with an effect of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgp_services.rotate_all.exercises.front import FRONT
from pgp_services.rotate_all.exercises.money import MONEY

if TYPE_CHECKING:
    from pgp_services.names import Service
    from pgp_services.rotate_all.exercises.craft import Exercise

#: The exercises of all services.
EXERCISES: dict[Service, list[Exercise]] = {**MONEY, **FRONT}

__all__ = ["EXERCISES"]
