"""The fixtures, as a test of a service uses them."""

import subprocess
import sys

import pytest

from pgp_config import (
    EVERY_REQUEST,
    DeclarationError,
    DynamicSecret,
    Freshness,
    SecretContainer,
    SecretUnavailable,
    StartupError,
    StaticSecret,
    default_observers,
    request_scope,
)
from pgp_config.events import Reloaded, ServedStale, VersionRejected
from pgp_config.testing import FakeSource, Prepared, prepare

pytest_plugins = ["pytester"]


class Service(SecretContainer):
    key = DynamicSecret("KIT_KEY")
    fixed = StaticSecret("KIT_FIXED")


VALUES = {"KIT_KEY": "canary-1", "KIT_FIXED": "canary-fixed"}


def seen(secrets):
    with request_scope():
        return secrets.key().get_secret_value()


def test_a_container_is_loaded_with_the_values(make_secrets):
    made = make_secrets(Service, VALUES)
    assert seen(made.secrets) == "canary-1"
    assert made.secrets.fixed().get_secret_value() == "canary-fixed"
    assert "canary" not in repr(made)


def test_the_next_scope_sees_a_rotation_and_an_open_one_does_not(make_secrets):
    made = make_secrets(Service, VALUES)
    with request_scope():
        before = made.secrets.key()
        assert made.rotate("KIT_KEY", "canary-2") == 2
        assert made.secrets.key() is before
    assert seen(made.secrets) == "canary-2"
    assert [event.version for event in made.events.of(Reloaded)] == [2]


@pytest.mark.parametrize(
    ("option", "hint"),
    [("freshnes", "Did you mean freshness?"), ("zzz", "There are chance, clock, freshness, load")],
)
def test_a_misspelt_option_is_an_error_and_not_ignored(make_secrets, option, hint):
    with pytest.raises(DeclarationError, match=rf"{option}=.*{hint}".replace("?", r"\?")):
        make_secrets(Service, VALUES, **{option: EVERY_REQUEST})


@pytest.mark.parametrize(
    ("name", "hint"), [("KIT_KEYY", "Did you mean KIT_KEY"), ("ZZZ", "Use the")]
)
def test_a_value_of_a_secret_that_is_not_declared_is_an_error(make_secrets, name, hint):
    with pytest.raises(
        DeclarationError, match=rf"^{name} in Service: is given a value, and .*{hint}"
    ):
        make_secrets(Service, {**VALUES, name: "canary"})


async def test_a_coroutine_rotates_without_blocking(make_secrets):
    made = make_secrets(Service, VALUES)
    assert await made.arotate("KIT_KEY", "canary-2") == 2
    async with request_scope():
        assert (await made.secrets.key.async_()).get_secret_value() == "canary-2"
    await made.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_under_anyio_as_well(make_secrets, anyio_backend):
    made = make_secrets(Service, VALUES)
    async with request_scope(values={"KIT_KEY": "canary-given"}):
        assert (await made.secrets.key.async_()).get_secret_value() == "canary-given"


def test_a_static_secret_keeps_its_version(make_secrets):
    made = make_secrets(Service, VALUES)
    made.rotate("KIT_FIXED", "canary-other")
    assert made.secrets.fixed().get_secret_value() == "canary-fixed"


def test_a_bad_version_is_rejected_and_the_good_one_stays(make_secrets):
    made = make_secrets(Service, VALUES)
    made.rotate("KIT_KEY", b"\xff")
    assert seen(made.secrets) == "canary-1"
    assert made.events.of(VersionRejected)


def test_one_secret_can_be_overridden_in_a_scope(make_secrets):
    made = make_secrets(Service, VALUES)
    with request_scope(values={"KIT_KEY": "canary-given"}):
        assert seen(made.secrets) == "canary-given"
    assert seen(made.secrets) == "canary-1"


def test_a_name_that_is_not_declared_is_not_rotated(make_secrets):
    made = make_secrets(Service, VALUES)
    with pytest.raises(DeclarationError, match=r"KIT_KYE in Service: .* Did you mean KIT_KEY\?"):
        made.rotate("KIT_KYE", "canary-2")
    with pytest.raises(DeclarationError, match=r"Use the name in the source\."):
        made.rotate("SOMETHING", "canary-2")


def test_what_has_no_value_is_named(make_secrets):
    with pytest.raises(StartupError, match="KIT_FIXED in Service: does not exist"):
        make_secrets(Service, {"KIT_KEY": "canary-1"})


def test_a_container_need_not_be_loaded(make_secrets):
    made = make_secrets(Service, load=False)
    assert made.store.calls == []


@pytest.mark.parametrize("wrong", ["Service", FakeSource, FakeSource()])
def test_what_is_no_container_class_is_refused(make_secrets, wrong):
    with pytest.raises(DeclarationError, match=r"is no container class\. Give the class"):
        make_secrets(wrong, VALUES)


def test_nothing_comes_from_the_environment(make_secrets, monkeypatch):
    monkeypatch.setenv("PGP_CONFIG_MAX_AGE", "nonsense")
    monkeypatch.setenv("PGP_CONFIG_PINNED", "nonsense")
    made = make_secrets(Service, VALUES)
    assert {row.name for row in made.secrets.status()} == {"KIT_KEY", "KIT_FIXED"}


def test_options_are_those_of_the_container(make_secrets, clock):
    told = []
    made = make_secrets(Service, VALUES, freshness=EVERY_REQUEST, observers=[told.append])
    made.store.add("KIT_KEY", "canary-2")
    assert seen(made.secrets) == "canary-2"
    assert told == made.events
    assert default_observers


def test_what_is_too_old_is_fetched_when_the_clock_says_so(make_secrets, secret_clock):
    made = make_secrets(Service, VALUES, freshness=Freshness(max_age=60))
    made.store.add("KIT_KEY", "canary-2")
    assert seen(made.secrets) == "canary-1"
    secret_clock.advance(61)
    assert seen(made.secrets) == "canary-2"


def test_an_outage_is_served_stale_and_then_no_more(make_secrets, secret_clock):
    made = make_secrets(Service, VALUES, freshness=Freshness(max_age=60, max_stale=600))
    with made.store.outage():
        secret_clock.advance(61)
        assert seen(made.secrets) == "canary-1"
        assert made.events.of(ServedStale)
        secret_clock.advance(600)
        with pytest.raises(SecretUnavailable):
            seen(made.secrets)
    secret_clock.advance(60)
    assert seen(made.secrets) == "canary-1"


def test_a_container_of_the_local_secret_manager(make_secrets, secret_manager):
    made = make_secrets(Service, VALUES, manager=secret_manager, freshness=EVERY_REQUEST)
    made.rotate("KIT_KEY", "canary-2")
    assert seen(made.secrets) == "canary-2"
    secret_manager.deny("KIT_KEY")
    assert seen(made.secrets) == "canary-2"
    assert [event.version for event in made.events.of(ServedStale)] == [2]


@pytest.mark.secret_values(VALUES)
class TestMarked:
    @pytest.mark.secret_values(KIT_KEY="canary-marked")
    def test_the_nearest_marker_goes_first_and_a_calls_own_values_before_it(self, make_secrets):
        assert seen(make_secrets(Service).secrets) == "canary-marked"
        assert seen(make_secrets(Service, {"KIT_KEY": "canary-own"}).secrets) == "canary-own"


def test_without_pytest_a_with_block_closes_it():
    with prepare(Service, VALUES) as made:
        assert isinstance(made, Prepared)
        assert isinstance(made.store, FakeSource)
        assert seen(made.secrets) == "canary-1"
    assert made.store.closed == 1


async def test_without_pytest_an_async_with_block_closes_it():
    async with prepare(Service, VALUES) as made:
        await made.arotate("KIT_KEY", "canary-2")
    assert made.store.closed == 1


def test_containers_are_closed_after_the_test_also_when_it_fails(run):
    run("""
from pgp_config import Memory, SecretContainer, DynamicSecret
class Service(SecretContainer):
    key = DynamicSecret("KIT_CLOSED")
MADE = []
def test_one(make_secrets):
    MADE.append(make_secrets(Service, {"KIT_CLOSED": "canary"}))
    raise ValueError
def test_two():
    assert MADE[0].store.closed == 1
""").assert_outcomes(failed=1, passed=1)


def test_without_its_extra_the_secret_manager_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pgp_config.emulator", None)
    ran = run("def test_it(secret_manager): ...")
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(
        ["*the local Secret Manager needs *pip install 'pgp-config[[]emulator[]]'*"]
    )


def test_markers_and_options_are_known(run):
    ran = run("def test_it(): ...", "--markers")
    ran.stdout.fnmatch_lines(["@pytest.mark.secret_values*", "@pytest.mark.secret_leaks*", "*"])
    assert "secret_canaries" in run("def test_it(): ...", "--help").stdout.str()


def test_a_run_that_asks_for_nothing_imports_nothing_of_the_library(tmp_path):
    tmp_path.joinpath("test_it.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    ours = sorted(name for name in sys.modules if name.startswith('pgp_config'))\n"
        "    assert ours == ['pgp_config_pytest']\n"
    )
    # Only this plugin: others may import what they like.
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "pgp_config_pytest", "test_it.py"],
        cwd=tmp_path,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout


def test_without_pytest_there_are_no_contracts_and_all_the_rest(monkeypatch):
    import pgp_config.testing

    monkeypatch.setitem(sys.modules, "pytest", None)
    for name in [name for name in sys.modules if name.startswith("pgp_config.testing.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in pgp_config.testing.__all__:
        monkeypatch.delattr(pgp_config.testing, name, raising=False)
        assert getattr(pgp_config.testing, name)
    told = r"contracts needs pytest: pip install 'pgp-config\[testing\]'"
    with pytest.raises(ImportError, match=told):
        import pgp_config.testing.contracts
