"""What clients ask of a secret is what pgp_config's secrets have."""

import inspect

from pgp_config import DynamicSecret, Rotating, StaticSecret
from pgp_services.provided import Constant, Provided


def methods(protocol):
    return {name for name, member in vars(protocol).items() if inspect.isfunction(member)} - {
        "__init__",
        "__subclasshook__",
    }


def test_secrets_are_what_clients_take():
    assert {"__call__", "async_"} == methods(Provided)
    assert {"refresh", "arefresh"} <= methods(Rotating)
    assert all(hasattr(StaticSecret, name) for name in methods(Provided))
    assert all(hasattr(DynamicSecret, name) for name in methods(Provided) | methods(Rotating))


def test_a_static_secret_cannot_be_refreshed():
    assert not any(hasattr(StaticSecret, name) for name in methods(Rotating))


async def test_what_is_no_secret_is_given_like_one():
    constant = Constant("pgp-live")
    assert constant() == await constant.async_() == "pgp-live"
    assert methods(Provided) <= set(dir(constant))
