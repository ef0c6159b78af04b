"""Promises 13 and 14: what a container class refuses when it is created."""

import re

import pytest
from dependency_injector import providers
from pydantic import SecretStr

from pgp_config import (
    EVERY_REQUEST,
    DeclarationError,
    DynamicSecret,
    Freshness,
    KeyRing,
    LoggingObserver,
    Memory,
    ReloadPolicy,
    SecretContainer,
    StaticSecret,
    request_scope,
)


class Client:
    def __init__(self, api_key=None):
        self.api_key = api_key


@pytest.fixture
def service(source, make):
    class Service(SecretContainer):
        key = DynamicSecret("DECLARED_KEY")
        client = providers.Singleton(Client, api_key=key)

    source.add("DECLARED_KEY", "v1")
    return make(Service)


# promise 13
def test_a_protected_name_cannot_be_dynamic():
    with pytest.raises(DeclarationError, match=r"HOST_WALLET_PRIVATE_KEY in Service: is declared"):

        class Service(SecretContainer):
            key = DynamicSecret("HOST_WALLET_PRIVATE_KEY")


# promise 13
def test_all_faults_are_reported_at_once():
    with pytest.raises(DeclarationError) as caught:

        class Service(SecretContainer):
            one = DynamicSecret("DATABASE_PASSWORD")
            two = DynamicSecret("JWT_SECRET_KEY")
            both = StaticSecret("DECLARED_TWICE")
            again = DynamicSecret("DECLARED_TWICE")
            three = DynamicSecret("DECLARED_KEY")
            taken = providers.Dependency(default=three)

    text = str(caught.value)
    assert "Service: 4 faults" in text
    for name in ("DATABASE_PASSWORD", "JWT_SECRET_KEY", "DECLARED_TWICE", "DECLARED_KEY"):
        assert name in text


# promise 13
def test_secrets_inside_other_providers_are_held_to_the_policy_too():
    with pytest.raises(DeclarationError, match="HOST_WALLET_PRIVATE_KEY"):

        class Service(SecretContainer):
            client = providers.Singleton(
                Client, providers.List(DynamicSecret("HOST_WALLET_PRIVATE_KEY"))
            )


# promise 13
def test_an_exception_is_inherited_and_can_be_taken_back():
    name = "DECLARED_SIGNING_KEY_SECONDARY"

    class Base(SecretContainer):
        reload_policy = ReloadPolicy(exceptions={name: "verifies, never signs"})
        key = DynamicSecret(name)

    class Child(Base):
        pass

    with pytest.raises(DeclarationError, match=name):

        class Strict(Base):
            reload_policy = ReloadPolicy()


# promise 13
def test_a_secret_that_is_set_later_is_held_to_the_policy_too():
    class Service(SecretContainer):
        pass

    Service.key = DynamicSecret("DECLARED_KEY")
    Service.note = "not a provider"
    with pytest.raises(DeclarationError, match="JWT_SECRET"):
        Service.other = DynamicSecret("JWT_SECRET")
    assert set(Service.providers) == {"key"}


# promise 13
def test_an_overriding_provider_is_held_to_the_policy_too():
    class Service(SecretContainer):
        key = DynamicSecret("DECLARED_KEY")

    with pytest.raises(DeclarationError, match="JWT_SECRET"):
        Service(source=Memory(), key=DynamicSecret("JWT_SECRET"))


# promise 14
@pytest.mark.parametrize(
    "wrap",
    [
        lambda key: providers.Factory(Client, key)().api_key,
        lambda key: providers.Singleton(Client, api_key=key)().api_key,
        lambda key: providers.ThreadSafeSingleton(Client, key)().api_key,
        lambda key: providers.Callable(Client, key)().api_key,
        lambda key: providers.List(key)()[0],
        lambda key: providers.Dict(k=key)()["k"],
        lambda key: providers.Object(key)(),
        lambda key: providers.Factory(Client, key.provider)().api_key,
        lambda key: providers.Delegate(key)(),
        lambda key: providers.Dependency(default=key.provider)(),
    ],
)
def test_a_secret_arrives_as_the_provider_wherever_it_is_given(wrap):
    key = DynamicSecret("DECLARED_KEY")
    assert wrap(key) is key


# promise 14
@pytest.mark.parametrize(
    "capture",
    [
        lambda key: providers.Singleton(Client, key.provided),
        lambda key: providers.Singleton(Client, key.provided.get_secret_value.call()),
        lambda key: providers.Factory(Client, api_key=key.provided["part"]),
        lambda key: providers.List(key.provided.user),
        lambda key: providers.Singleton(
            Client, providers.Selector(lambda: "one", one=key, two=providers.Object(None))
        ),
    ],
)
def test_a_value_cannot_be_captured_when_something_is_built(capture):
    key = DynamicSecret("DECLARED_KEY")
    with pytest.raises(DeclarationError, match="Give it the secret itself") as caught:
        type("Service", (SecretContainer,), {"key": key, "client": capture(key)})
    assert "DECLARED_KEY" in str(caught.value)
    assert "client" in str(caught.value)


# promise 14
def test_the_fix_that_the_message_names_works(service):
    with request_scope():
        assert service.client().api_key is service.key
        assert service.client().api_key().get_secret_value() == "v1"


def test_a_value_may_be_taken_apart_where_it_is_read(source, make):
    class Service(SecretContainer):
        key = DynamicSecret("DECLARED_KEY")
        text = key.provided.get_secret_value.call()
        chosen = providers.Selector(lambda: "one", one=key)

    source.add("DECLARED_KEY", "v1")
    secrets = make(Service)
    assert secrets.text() == "v1"
    assert secrets.chosen().get_secret_value() == "v1"


@pytest.mark.parametrize("name", ["", None, 7])
def test_a_secret_needs_a_name(name):
    with pytest.raises(DeclarationError, match="has no name"):
        DynamicSecret(name)


def test_an_unknown_type_is_named_with_its_secret():
    with pytest.raises(DeclarationError, match=r"DECLARED_KEY: pydantic does not know"):
        StaticSecret("DECLARED_KEY", type("Odd", (), {}))


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ("canary", r"its type is given as a value \(str\)\. Give the type itself"),
        (7, r"its type is given as a value \(int\)"),
        (list["Canary"], r"pydantic does not know the type list\['Canary'\] \(class-not-fully-"),  # noqa: F821  that is the fault
    ],
)
def test_a_type_that_is_given_as_text_is_a_fault_of_its_secret(declared, told):
    with pytest.raises(DeclarationError, match=f"^DECLARED_KEY: {told}") as caught:
        DynamicSecret("DECLARED_KEY", declared)
    assert "canary" not in str(caught.value)


def test_a_container_needs_a_source():
    class Service(SecretContainer):
        key = DynamicSecret("DECLARED_KEY")

    with pytest.raises(DeclarationError, match=r"Service: its source is a str.*source_from_url"):
        Service(source="gsm://pgp-live")
    with pytest.raises(TypeError, match="source"):
        Service()


def test_a_secret_is_read_from_an_instance(source):
    class Service(SecretContainer):
        key = DynamicSecret("DECLARED_KEY")

    for read in (Service.key, Service.key.refresh, DynamicSecret("ALONE")):
        with pytest.raises(DeclarationError, match=r"MyContainer\(source=…\)"):
            read()
    empty = SecretContainer.instance_type()
    with pytest.raises(DeclarationError, match=r"MyContainer\(source=…\)"):
        empty.load()


def test_freshness_can_be_said_at_three_places():
    class Service(SecretContainer):
        strict = DynamicSecret("DECLARED_STRICT", freshness=EVERY_REQUEST)
        usual = DynamicSecret("DECLARED_USUAL")

    secrets = Service(source=Memory(), freshness=Freshness(9))
    found = {spec.name: secrets._cache.freshness(spec).max_age for spec in secrets._cache.specs()}
    assert found == {"DECLARED_STRICT": 0, "DECLARED_USUAL": 9}


# promise 4: EVERY_REQUEST written as 0 was taken for "not given", and values were 5 s old
@pytest.mark.parametrize("given", [0, 0.0, 5, "5"])
def test_a_freshness_that_is_none_is_refused(given):
    class Service(SecretContainer):
        key = DynamicSecret("DECLARED_KEY")

    wanted = f"freshness is a {type(given).__name__}.*EVERY_REQUEST"
    with pytest.raises(DeclarationError, match=f"Service: its {wanted}"):
        Service(source=Memory(), freshness=given)
    for kind in (DynamicSecret, KeyRing):
        with pytest.raises(DeclarationError, match=f"DECLARED_KEY: its {wanted}"):
            kind("DECLARED_KEY", freshness=given)


def test_texts_name_the_secret_and_no_value(service):
    assert repr(service.key) == str(service.key) == "<DynamicSecret DECLARED_KEY>"
    assert repr(service) == "<Service: DECLARED_KEY>"
    assert service.key.container_name == "Service"
    assert SecretStr("x") != service.key


@pytest.mark.parametrize(
    "name",
    [
        "CHANGENOW_API_KEY",
        "K" * 255,
        "database#*",
        "team/database#the user",
        "/prod/split2/CHANGENOW_API_KEY",
        "rds!cluster-1+2=3.@_",
        "arn:aws:secretsmanager:eu-west-1:111122223333:secret:" + "split2/" * 100 + "KEY-a1B2c3",
        ".hidden.key",
    ],
)
def test_a_name_that_some_source_can_hold_is_declared(name):
    class Named(SecretContainer):
        key = DynamicSecret(name)

    assert Named.key.name == name


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sk live canary/7f3a==", "has a blank, a line break or a control character in it"),
        ("canary\nsecond", "has a blank, a line break or a control character in it"),
        ("KEY#canary\x1b[31m", "has a blank, a line break or a control character in it"),
        ("canary" * 100, "has 600 characters"),
        ("KEY#" + "canary" * 100, "has 604 characters"),
        ("arn:" + "canary" * 400, "has 2404 characters"),
        ("canary//+7f3a==", "has an empty segment, '.' or '..' between its slashes"),
        ("canary PASSWORD", "has a blank, a line break or a control character in it"),
        ("#canary", "has nothing before its '#'"),
    ],
)
def test_a_name_that_no_source_can_hold_is_refused_and_not_shown(name, told):
    with pytest.raises(DeclarationError) as caught:

        class Misnamed(SecretContainer):
            key = DynamicSecret(name)

    text = str(caught.value)
    assert f"Misnamed: the name of 'key' {told}, and no source holds" in text
    assert "It is not shown, for it may be a value." in text
    assert "canary" not in text
    with pytest.raises(DeclarationError, match="names a secret that no container") as caught:
        request_scope(values={f"{name}x": "1"})
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a//b", "a/./b", "split2/"])
def test_a_name_that_is_no_value_is_refused_by_name(name):
    with pytest.raises(
        DeclarationError, match=rf"^{re.escape(name)} in Misnamed: its name has an "
    ):

        class Misnamed(SecretContainer):
            key = StaticSecret(name)


def test_a_type_that_is_wrong_does_not_show_a_name_that_may_be_a_value():
    for make in (DynamicSecret, KeyRing):
        with pytest.raises(DeclarationError) as caught:
            make("canary 7f3a", type("Odd", (), {}))
        assert "canary" not in str(caught.value)
    with pytest.raises(DeclarationError, match=r"^grace") as caught:
        KeyRing("canary 7f3a", grace=-1)
    assert "canary" not in str(caught.value)


def test_an_override_with_a_name_that_no_source_can_hold_is_refused():
    with pytest.raises(DeclarationError, match="the name of 'a secret'"):
        Plain(source=Memory({}), key=DynamicSecret("no name"))


class Plain(SecretContainer):
    key = DynamicSecret("DECLARED_KEY")
    client = providers.Singleton(Client, api_key=key)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"observers": ["canary"]}, r"observers= has a str in it.*observers=\[LoggingObserver"),
        ({"observers": "canary"}, r"observers= is given a str\. Give a list"),
        ({"observers": LoggingObserver()}, r"observers= is given a LoggingObserver\. Give a list"),
        ({"observers": print}, r"observers= is given a builtin_function_or_method\. Give a list"),
        ({"observers": [LoggingObserver]}, "observers= has the class LoggingObserver in it"),
        ({"uptake": "sqlite:canary"}, r"uptake= is given a str\. Give an Uptake"),
        ({"clock": 5}, r"clock= is given a int\. Give a function"),
        ({"chance": "canary"}, r"chance= is given a str\. Give a function"),
        ({"keyy": "canary"}, r"made with keyy=, and declares.*Did you mean key=\?"),
        ({"clok": "canary"}, r"made with clok=, and declares.*Did you mean clock=\?"),
        ({"zzz": "canary"}, r"made with zzz=, and declares.*Its arguments are source, freshness"),
    ],
)
def test_what_a_container_is_not_made_with_is_refused_when_it_is_made(arguments, told):
    with pytest.raises(DeclarationError, match=f"^Plain: .*{told}") as caught:
        Plain(source=Memory({"DECLARED_KEY": "v1"}), **arguments)
    assert "canary" not in str(caught.value)


def test_observers_may_be_none_or_an_iterator_and_what_is_declared_is_overridden():
    source = Memory({"DECLARED_KEY": "v1"})
    told = []
    secrets = Plain(source=source, observers=iter([told.append]), key="canary", client=7)
    assert (secrets.key().get_secret_value(), secrets.client()) == ("canary", 7)
    secrets.key.reset_override()
    secrets.load()
    assert told
    secrets.close()
    Plain(source=source, observers=[]).close()


def test_a_value_is_not_set_in_place_of_a_secret():
    secrets = Plain(source=Memory({"DECLARED_KEY": "v1"}))
    for name in ("key", "client"):
        with pytest.raises(
            DeclarationError,
            match=rf"^Plain: its attribute '{name}' .*secrets\.{name}\.override\(",
        ) as caught:
            setattr(secrets, name, "canary")
        assert "canary" not in str(caught.value)
    secrets.load()
    assert secrets.key().get_secret_value() == "v1"
    secrets.note = "anything else"
    secrets.client = providers.Object("another provider")
    assert (secrets.note, secrets.client()) == ("anything else", "another provider")
    secrets.close()
