"""Names of a package that are imported when somebody first asks for them (PEP 562).

What a service does not use, it should not pay for at its start. Type checkers see plain imports:

    if TYPE_CHECKING:
        from package.module import Name
    else:
        __getattr__, __dir__ = deferred(globals(), {"Name": "package.module"})
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def deferred(
    package: dict[str, object], modules: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The `__getattr__` and the `__dir__` of a package.

    Args:
        package: Its `globals()`.
        modules: The module that has each name.
    """

    def find(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        found = package[name] = getattr(import_module(modules[name]), name)
        return found

    def names() -> list[str]:
        return sorted({*package, *modules})

    return find, names
