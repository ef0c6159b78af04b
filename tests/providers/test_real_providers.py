"""A secret is a real provider: overrides, wiring, copies, inheritance, nesting."""

import asyncio
import copy
import pickle
import sys
import types

import pytest
from dependency_injector import containers, providers
from dependency_injector.wiring import Provide, inject

from pgp_config import (
    DeclarationError,
    DynamicSecret,
    RejectedVersion,
    SecretContainer,
    StaticSecret,
    request_scope,
)


class Client:
    def __init__(self, key):
        self.key = key


class Service(SecretContainer):
    key = DynamicSecret("REAL_KEY", str)
    limit = DynamicSecret("REAL_LIMIT", int)
    fixed = StaticSecret("REAL_FIXED", str)
    client = providers.Singleton(Client, key)


@pytest.fixture
def secrets(source, make):
    source.add("REAL_KEY", "v1")
    source.add("REAL_LIMIT", "7")
    source.add("REAL_FIXED", "f1")
    service = make(Service)
    service.load()
    return service


# -- override --------------------------------------------------------------------------------


def test_an_override_is_seen_inside_a_scope_and_undone_after(secrets):
    with request_scope():
        assert secrets.key() == "v1"
        with secrets.key.override("test"):
            assert secrets.key() == "test"
            with secrets.key.override("inner"):
                assert secrets.key() == "inner"
            assert secrets.key() == "test"
            assert secrets.key.refresh() is False
        assert secrets.key() == "v1"


def test_an_overriding_value_is_validated_as_the_type(secrets):
    with secrets.limit.override("8"):
        assert secrets.limit() == 8
    with secrets.limit.override(9):
        assert secrets.limit() == 9
    with pytest.raises(RejectedVersion) as caught:
        secrets.limit.override("canary-7f3a")
    assert "canary" not in str(caught.value)
    assert secrets.limit() == 7


def test_overrides_can_be_reset(secrets):
    secrets.key.override("one")
    secrets.key.override("two")
    secrets.key.reset_last_overriding()
    assert secrets.key() == "one"
    secrets.key.reset_override()
    assert secrets.key() == "v1"


def test_any_provider_can_override(secrets):
    with secrets.key.override(providers.Callable(lambda: "called")):
        assert secrets.key() == "called"
    with secrets.key.override(secrets.fixed):
        assert secrets.key() == "f1"


async def test_an_overriding_coroutine_is_awaited(secrets):
    async def fetch():
        return "awaited"

    with secrets.key.override(providers.Callable(fetch)):
        assert await secrets.key.async_() == "awaited"
    assert await secrets.key.async_() == "v1"


def test_values_of_a_scope_win_over_an_override(secrets):
    with secrets.key.override("override"), request_scope(values={"REAL_KEY": "given"}):
        assert secrets.key() == "given"


# promise 13
@pytest.mark.parametrize(
    "wrap", [lambda p: p, lambda p: p.provider, lambda p: providers.Callable(str, p)]
)
def test_a_static_secret_is_not_overridden_by_a_dynamic_one(secrets, wrap):
    dynamic = DynamicSecret("REAL_OTHER", str)
    for attempt in (
        lambda: secrets.fixed.override(wrap(dynamic)),
        lambda: Service.fixed.override(wrap(dynamic)),
        lambda: secrets.override_providers(fixed=wrap(dynamic)),
    ):
        with pytest.raises(DeclarationError, match=r"REAL_FIXED.*is static"):
            attempt()
    assert secrets.fixed() == "f1"
    with secrets.fixed.override("test"):
        assert secrets.fixed() == "test"


def test_a_container_can_be_overridden_when_it_is_made(source, make):
    source.add("REAL_OTHER", "other")
    secrets = make(Service, key=DynamicSecret("REAL_OTHER", str), limit=3)
    assert (secrets.key(), secrets.limit()) == ("other", 3)


def test_an_overriding_value_shows_and_stores_nothing(secrets):
    with secrets.key.override("canary-7f3a"):
        shown = [repr(secrets.key.last_overriding), str(secrets.key.overridden), repr(secrets.key)]
        assert "canary" not in "".join(shown)
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(secrets.key.last_overriding)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secrets.key)


# -- copies ----------------------------------------------------------------------------------


def test_a_copy_of_a_container_reads_through_the_same_cache(secrets, source):
    twin = copy.deepcopy(secrets)
    assert twin.key is not secrets.key
    before = len(source.calls)
    with request_scope():
        assert twin.key() == secrets.key() == "v1"
        assert twin.client().key is twin.key
    assert len(source.calls) == before
    assert twin.status() == secrets.status()


def test_a_copy_of_a_provider_keeps_its_override(secrets):
    with secrets.key.override("test"):
        twin = providers.deepcopy(secrets.key)
        assert twin() == "test"
    assert copy.deepcopy(secrets.key)() == "v1"
    assert secrets.key.__deepcopy__(None)() == "v1"
    assert secrets.key.__deepcopy__({id(secrets.key): secrets.limit}) is secrets.limit


def test_a_container_class_can_take_a_copy_of_another(source, make):
    @containers.copy(Service)
    class Copied(Service):
        pass

    source.add("REAL_KEY", "v1")
    assert make(Copied).key() == "v1"


def test_a_subclass_inherits_and_replaces(source, make):
    class Child(Service):
        key = DynamicSecret("REAL_CHILD", str)

    source.add("REAL_CHILD", "child")
    source.add("REAL_LIMIT", "7")
    child = make(Child)
    assert (child.key(), child.limit()) == ("child", 7)
    assert {p.name for p in child.providers.values() if hasattr(p, "name")} == {
        "REAL_CHILD",
        "REAL_LIMIT",
        "REAL_FIXED",
    }


def test_containers_nest(source, make):
    class Outer(SecretContainer):
        inner = providers.DependenciesContainer()
        client = providers.Factory(Client, inner.key.provider)

    source.add("REAL_KEY", "v1")
    inner = make(Service)
    outer = make(Outer, inner=inner)
    with request_scope():
        assert outer.client().key() == outer.inner.key() == inner.key() == "v1"
    assert source.count("REAL_KEY") == 1


# promise 14
def test_a_nested_container_does_not_hand_out_values_either(source, make):
    class Outer(SecretContainer):
        inner = providers.DependenciesContainer()
        client = providers.Singleton(Client, inner.key)

    with pytest.raises(
        DeclarationError, match="REAL_KEY in Outer: is read when 'client' is built"
    ):
        make(Outer, inner=make(Service))


def test_the_graph_can_be_traversed(secrets):
    found = {provider for provider in secrets.traverse() if isinstance(provider, DynamicSecret)}
    assert found == {secrets.key, secrets.limit}
    assert list(secrets.key.traverse()) == []
    secrets.reset_singletons()


# -- wiring ----------------------------------------------------------------------------------


@pytest.fixture
def module():
    module = types.ModuleType("wired_for_a_test")

    @inject
    def value(key=Provide[Service.key]):
        return key

    @inject
    def provider(key=Provide[Service.key.provider]):
        return key

    @inject
    def named(limit=Provide["limit"]):
        return limit

    @inject
    def misspelt(limit=Provide["limits"]):
        return limit

    @inject
    async def later(key=Provide[Service.key.provider]):
        return await key.async_()

    class View:
        @inject
        def get(self, fixed=Provide[Service.fixed]):
            return fixed

    for member in (value, provider, named, misspelt, later, View):
        member.__module__ = module.__name__
        setattr(module, member.__name__, member)
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


def test_wired_functions_get_the_value_or_the_provider(secrets, source, clock, module):
    secrets.wire(modules=[module])
    try:
        assert module.value() == "v1"
        assert module.provider() is secrets.key
        assert module.named() == 7
        assert module.View().get() == "f1"
        assert asyncio.run(module.later()) == "v1"
        source.add("REAL_KEY", "v2")
        clock.advance(6)
        assert module.value() == "v2"
    finally:
        secrets.unwire()


# -- check -----------------------------------------------------------------------------------


def test_the_check_finds_what_nothing_uses_and_what_is_not_declared(source, make, module):
    source.add("REAL_FIXED", "f1")
    secrets = make(Service)
    secrets.wire(modules=[module])
    try:
        found = {(finding.kind, finding.name) for finding in secrets.check()}
    finally:
        secrets.unwire()
    assert found == {("undeclared", "limits")}
    assert {(f.kind, f.name) for f in secrets.check()} == {
        ("unused", "REAL_LIMIT"),
        ("unused", "REAL_FIXED"),
    }
    secrets.fixed()
    (finding,) = secrets.check()
    assert str(finding).startswith("REAL_LIMIT: is declared, and no provider")
    assert {f.name for f in secrets.check([module])} == {"limits"}


def test_the_check_reads_annotations_and_packages(source, make, module):
    from typing import Annotated

    @inject
    def annotated(limit: Annotated[int, Provide["limit"]]):
        return limit

    annotated.__module__ = module.__name__
    module.annotated = annotated
    secrets = make(Service)
    secrets.wired_to_packages.append(module)
    names = {finding.name for finding in secrets.check()}
    secrets.wired_to_packages.clear()
    assert "REAL_LIMIT" not in names
