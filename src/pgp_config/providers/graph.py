"""What is wrong with a declaration: captured values, protected names, names that nobody uses."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

from dependency_injector import providers
from dependency_injector.wiring import Provide

from pgp_config.errors import DeclarationError
from pgp_config.facts import Fact, fact
from pgp_config.providers.names import fault_of, shown
from pgp_config.providers.per_version import PerVersion
from pgp_config.providers.secrets import SecretProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType

    from pgp_config.policy import ReloadPolicy

#: The stubs make `Provide` a marker object, so that it may stand for any type.
_PROVIDE: Any = Provide

#: Providers that call what they wrap: given to another provider they would hand it the value.
_EVALUATING = (
    providers.ProvidedInstance,
    providers.AttributeGetter,
    providers.ItemGetter,
    providers.MethodCaller,
)

#: What changes with a rotation, and is therefore handed on as the provider that it is.
_CHANGING = (SecretProvider, PerVersion)

#: Providers that only lead to others: what they hold is not called when they are.
_HOLDING = (providers.Container, providers.Delegate, providers.DependenciesContainer)


@fact
class Finding(Fact):
    """Something that `check()` found.

    Attributes:
        kind: "unused" (declared, and nothing uses it) or "undeclared" (wired, and not declared).
        name: The secret's name, or the name that is wired.
        text: What was found and what to do.
    """

    kind: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


def secrets_of(roots: Iterable[providers.Provider[Any]]) -> list[SecretProvider[Any]]:
    """All secrets that can be reached from these providers, by name."""
    found = cast(
        "Iterable[SecretProvider[Any]]", providers.traverse(*roots, types=[SecretProvider])
    )
    return sorted(found, key=lambda secret: (secret.name, secret.is_dynamic))


def objects_of(roots: Iterable[providers.Provider[Any]]) -> list[PerVersion[Any]]:
    """All objects built from secrets that can be reached from these providers."""
    found = cast("Iterable[PerVersion[Any]]", providers.traverse(*roots, types=[PerVersion]))
    return sorted(found, key=repr)


def faults_of(
    roots: dict[str, providers.Provider[Any]], policy: ReloadPolicy
) -> list[DeclarationError]:
    """Every fault of a container's declaration."""
    secrets = secrets_of(roots.values())
    misnamed = list(_misnamed(secrets, roots))
    if misnamed:  # alone: the other faults would show the names
        return misnamed
    faults = [policy.fault_of(secret.name, dynamic=secret.is_dynamic) for secret in secrets]
    found = [fault for fault in faults if fault is not None]
    return [*found, *_two_classes(secrets), *_captures(roots)]


def _misnamed(
    secrets: list[SecretProvider[Any]], roots: dict[str, providers.Provider[Any]]
) -> Iterator[DeclarationError]:
    attributes = {id(provider): name for name, provider in roots.items()}
    for secret in secrets:
        reason = fault_of(secret.name)
        if reason is None:
            continue
        name = shown(secret.name)
        whose = "its name" if name else f"the name of {attributes.get(id(secret), 'a secret')!r}"
        hidden = "" if name else " It is not shown, for it may be a value."
        yield DeclarationError(
            f"{whose} {reason}, and no source holds a secret of that name",
            remedy="Give the name in the source, such as 'CHANGENOW_API_KEY', 'split2/changenow#key' or an "
            f"ARN.{hidden}",
            secret=name,
        )


def _two_classes(secrets: list[SecretProvider[Any]]) -> Iterator[DeclarationError]:
    static = {secret.name for secret in secrets if not secret.is_dynamic}
    for name in sorted(static & {secret.name for secret in secrets if secret.is_dynamic}):
        yield DeclarationError(
            "is declared both static and dynamic",
            remedy="Declare it once: static if a change needs a restart.",
            secret=name,
        )


def _captures(roots: dict[str, providers.Provider[Any]]) -> Iterator[DeclarationError]:
    names = {id(provider): name for name, provider in roots.items()}
    for provider in providers.traverse(*roots.values()):
        taker = names.get(id(provider), type(provider).__name__)
        if isinstance(provider, providers.Dependency):
            yield from _capture_by_default(provider, taker)
        elif not isinstance(provider, (*_EVALUATING, *_HOLDING)):
            yield from _capture_by_argument(provider, taker)


def _capture_by_default(
    provider: providers.Dependency[Any], taker: str
) -> Iterator[DeclarationError]:
    default = provider.default
    if isinstance(default, _CHANGING):
        yield DeclarationError(
            f"is the default of the Dependency {taker!r}, which would hand out its value",
            remedy="Hand out the provider: providers.Dependency(default=secret.provider).",
            secret=default.name,
        )


def _capture_by_argument(
    provider: providers.Provider[Any], taker: str
) -> Iterator[DeclarationError]:
    for argument in provider.related:
        for secret in _values_read_by(argument):
            yield DeclarationError(
                f"is read when {taker!r} is built, which would keep the value over a rotation",
                remedy="Give it the secret itself, or `.provider` of a dependency on it: what arrives "
                "is then a provider, to be called at each use. What needs the plain value is built by a "
                "PerVersion, once for each version.",
                secret=secret.name,
            )


def _values_read_by(
    argument: providers.Provider[Any],
) -> Iterator[SecretProvider[Any] | PerVersion[Any]]:
    if isinstance(argument, providers.Selector):
        chosen = argument.providers.values()
        yield from (part for part in chosen if isinstance(part, _CHANGING))
    if isinstance(argument, providers.Dependency):
        # An attribute of a DependenciesContainer is one: it calls what stands in for it.
        standing_in = argument.last_overriding
        if isinstance(standing_in, _CHANGING):
            yield standing_in
    root: object = argument
    while isinstance(root, _EVALUATING):
        root = root.provides
    if root is not argument and isinstance(root, _CHANGING):
        yield root


def unused(roots: dict[str, providers.Provider[Any]], wired: set[str]) -> Iterator[Finding]:
    """Secrets that no provider takes, no wired function asks for, and nothing has read."""
    taken = {
        id(child) for provider in providers.traverse(*roots.values()) for child in provider.related
    }
    for attribute, secret in roots.items():
        if not isinstance(secret, SecretProvider) or secret.was_read or id(secret) in taken:
            continue
        if attribute not in wired:
            yield Finding(
                "unused",
                secret.name,
                "is declared, and no provider, wired function or read uses it. "
                "Remove it, or give it to what still reads the old way.",
            )


def wired_names(modules: Iterable[ModuleType]) -> Iterator[object]:
    """What the wired functions of these modules ask for: names, or providers of the class."""
    for module in modules:
        for member in vars(module).values():
            for function in _functions_of(member):
                yield from _markers(function)


def _functions_of(member: object) -> Iterator[Callable[..., object]]:
    if inspect.isfunction(member):
        yield member
    elif inspect.isclass(member):
        yield from (part for part in vars(member).values() if inspect.isfunction(part))


def _markers(function: Callable[..., object]) -> Iterator[object]:
    for parameter in inspect.signature(function).parameters.values():
        annotated = getattr(parameter.annotation, "__metadata__", ())
        for marker in (parameter.default, *annotated):
            if isinstance(marker, _PROVIDE):
                yield marker.provider
