"""Promises 13 and 14: what a container class refuses when it is created."""

import pytest
from dependency_injector import providers
from pydantic import SecretStr

from pgp_config import (
    EVERY_REQUEST,
    DeclarationError,
    DynamicSecret,
    Freshness,
    KeyRing,
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
