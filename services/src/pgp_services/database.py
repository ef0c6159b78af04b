"""The fleet's database: the four static secrets that a service connects with, in one hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import SecretStr

    from pgp_services.provided import Provided


@dataclass(frozen=True, slots=True)
class Database:
    """What a connection pool is made from; each is called where the pool is built.

    Attributes:
        instance: Gives the Cloud SQL instance, `project:region:instance`.
        name: Gives the database's name.
        user: Gives the user's name.
        password: Gives the user's password.
    """

    instance: Provided[str]
    name: Provided[str]
    user: Provided[str]
    password: Provided[SecretStr]
