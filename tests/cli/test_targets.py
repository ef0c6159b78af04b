"""`module:attribute`, as whoever types it meets it."""

import sys

import pytest

from pgp_config import DeclarationError
from pgp_config.cli.targets import targets_of
from pgp_config.importing import imported

CANARY = "canary-51be"

SERVICE = f"""
from pgp_config import DynamicSecret, GoogleSecretManager, Memory, SecretContainer, StaticSecret
print("hello from the module")

class Shop(SecretContainer):
    key = DynamicSecret("KEY")
    pem = StaticSecret("PEM")

class Empty(SecretContainer):
    pass

shop = Shop(source=Memory({{}}), pinned={{"PEM": 3}})
empty = Empty(source=Memory({{}}))
named = Shop(source=GoogleSecretManager("p", endpoint="127.0.0.1:1", user_agent="checkout/1.4"))
made = []

def make(source=None, *more, **others):
    made.append(Shop(source=Memory({{}})))
    return made[-1]

def chosen():
    return Shop

def needs(source, other=1):
    raise AssertionError

async def later():
    return shop

def bad():
    key = "{CANARY}"
    return int(key)

def refused():
    raise __import__("pgp_config").DeclarationError("is declared wrongly", secret="KEY")

class Odd:
    __signature__ = 7
    def __call__(self):
        return shop

def nothing():
    pass

odd, text = Odd(), "{CANARY}"

def __getattr__(name):
    if name == "lazily":
        raise ValueError("{CANARY}")
    raise AttributeError(name)
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "shop_service.py").write_text(SERVICE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("shop_")]:
        del sys.modules[name]


def one(name):
    with targets_of([name]) as (target,):
        return target


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("shop_service:Shop", "Shop"),
        ("shop_service:shop", "Shop"),
        ("shop_service:named", "checkout"),
        ("shop_service:chosen", "Shop"),
        ("shop_service:make", "Shop"),
        ("shop_service:odd", "Shop"),
        ("till=shop_service:named", "till"),
    ],
)
def test_a_class_an_instance_and_a_function_each_name_a_container(name, service, capsys):
    target = one(name)
    assert target.service == service
    assert [secret.name for secret in target.declared.secrets] == ["KEY", "PEM"]
    assert target.declared.name == "Shop"
    assert capsys.readouterr().out == ""  # what a module prints is no part of a document


def test_an_instance_tells_its_source_and_what_is_pinned(monkeypatch):
    shop = one("shop_service:shop").declared
    assert (repr(shop.source), shop.pinned) == ("<Memory of 0 secrets>", {"PEM": 3})
    monkeypatch.setenv("PGP_CONFIG_PINNED", "PEM=7")
    declared = one("shop_service:Shop").declared
    assert (declared.source, declared.pinned) == (None, {"PEM": 7})
    assert one("shop_service:empty").declared.secrets == ()


def test_what_a_function_made_for_it_is_closed():
    with targets_of(["shop_service:make", "shop_service:shop"]) as (target, other):
        assert not target.declared.secrets[0].cache.closed
    assert target.declared.secrets[0].cache.closed
    assert not other.declared.secrets[0].cache.closed


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (CANARY, "an argument is no module:attribute"),
        (f"KEY={CANARY}", "an argument is no module:attribute"),
        ("=shop_service:shop", "an argument is no module:attribute"),
        ("shop_service", "an argument is no module:attribute"),
        ("shop_service:text", "is a str. Name a SecretContainer"),
        ("shop_service:Odd", "is a class Odd"),
        ("shop_service:needs", "needs arguments: source. Name"),
        ("shop_service:later", "made a coroutine"),
        ("shop_service:bad", "calling it raised ValueError at {folder}/shop_service.py:32"),
        ("shop_service:nothing", "made a NoneType"),
        ("shop_service:refused", "raised DeclarationError (KEY: is declared wrongly.)"),
        ("shop_service:Shop.nothing.more", "there is no nothing in it"),
        ("shop_service:lazily", "it has lazily, which raised ValueError at"),
        ("shop_missing:Shop", "importing shop_missing raised ModuleNotFoundError (shop_missing)"),
    ],
)
def test_a_wrong_name_is_one_clear_error_without_a_value(name, said, module):
    with pytest.raises(DeclarationError) as caught:
        one(name)
    assert said.format(folder=module) in str(caught.value)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (f"x = int('{CANARY}')", "importing shop_bad raised ValueError at {folder}/shop_bad.py:1"),
        (f"\nx = undefined, '{CANARY}'", "raised NameError (undefined) at {folder}/shop_bad.py:2"),
        (f"\nx = '{CANARY}", "raised SyntaxError at {folder}/shop_bad.py:2"),
        ("import os\nos.nothing", "raised AttributeError (nothing) at {folder}/shop_bad.py:2"),
        ("import shop_nowhere", "ModuleNotFoundError (shop_nowhere) at {folder}/shop_bad.py:1"),
        (f"import sys\nsys.exit('{CANARY}')", "importing shop_bad ended the program"),
        (f"raise ImportError('{CANARY}')", "raised ImportError at {folder}/shop_bad.py:1"),
        (f"raise AttributeError('{CANARY}')", "raised AttributeError at {folder}/shop_bad.py:1"),
    ],
)
def test_an_import_that_raises_tells_its_cause_and_place_without_a_value(source, said, module):
    (module / "shop_bad.py").write_text(source)
    with pytest.raises(DeclarationError) as caught:
        one("shop_bad:Shop")
    assert said.format(folder=module) in str(caught.value)
    assert CANARY not in str(caught.value)


def test_naming_none_says_how():
    with pytest.raises(DeclarationError, match="no container was named"), targets_of([]):
        pass


def test_the_working_folder_is_put_first_once(module):
    one("shop_service:Shop")
    one("shop_service:Shop")
    assert sys.path.count(str(module)) == 1
    assert sys.path[0] == str(module)


def test_what_is_not_of_the_form_is_not_shown():
    with pytest.raises(DeclarationError) as caught:
        imported(CANARY)
    assert CANARY not in str(caught.value)
