"""The files of an audit: found, read, and parsed where there may be something in them."""

from __future__ import annotations

import ast
import gc
import io
import os
import re
import tokenize
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from pgp_config.audit.program import Module

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

#: Folders that are no program's own; and every one whose name begins with a dot, or that is an environment.
_FOREIGN = frozenset(
    {"__pycache__", "__pypackages__", "_build", "dist", "node_modules", "site-packages", "venv"}
)

#: Bytes of a file beyond which it is not read: nobody wrote that by hand, and parsing it takes a hundred times as much.
MOST_BYTES = 4_000_000

#: Files of tests: they hold values that are none, and set what they read.
_TESTS = re.compile(r"(^|/)tests?/|(^|/)(test_[^/]*|[^/]*_test|conftest)\.py$")


@dataclass(eq=False)
class SourceFile:
    """A file that was read, and is parsed when something asks for it.

    Attributes:
        path: The file.
        shown: How it is named in findings.
        content: What is in it.
        lowered: The same in small letters, to look for words.
    """

    path: Path
    shown: str
    content: bytes
    lowered: bytes = field(init=False)
    _module: Module | None = None
    _fault: str = ""

    def __post_init__(self) -> None:
        self.lowered = self.content.lower()

    def module(self) -> Module | None:
        """The file parsed, once; None if it cannot be."""
        if self._module is None and not self._fault:
            try:
                self._module = self._parsed()
            except (SyntaxError, ValueError, LookupError) as fault:
                # Its text would show the line, which may hold a value.
                self._fault = f"{type(fault).__name__}{_line(fault)}"
            except (RecursionError, MemoryError):
                self._fault = "it is nested too deeply"
        return self._module

    @property
    def fault(self) -> str:
        """Why it could not be parsed; empty if it could, or was not tried."""
        return self._fault

    def _parsed(self) -> Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the program's own escapes and comparisons
            tree = ast.parse(self.content)
        encoding, _ = tokenize.detect_encoding(io.BytesIO(self.content).readline)
        text = io.TextIOWrapper(io.BytesIO(self.content), encoding).read()
        return Module(self.path, self.shown, tree, module_name(self.path), text)


def _line(fault: Exception) -> str:
    number = getattr(fault, "lineno", None)
    return f" in line {number}" if number else ""


@dataclass(frozen=True, slots=True)
class Selection:
    """What an audit would read.

    Attributes:
        files: The files, in order.
        tests: How many files of tests are left out.
        empty: What was given and has no Python file.
    """

    files: list[Path]
    tests: int
    empty: list[str]


@dataclass(frozen=True, slots=True)
class Found:
    """The files of an audit.

    Attributes:
        files: Those that were read.
        unreadable: The others, each with the reason.
        tests: How many files of tests were left out.
        empty: What was given and has no Python file.
    """

    files: list[SourceFile]
    unreadable: list[tuple[str, str]]
    tests: int
    empty: list[str]


def read_files(
    paths: Sequence[Path], *, exclude: Collection[str] = (), tests: bool = False
) -> Found:
    """Read the Python files of some folders: those that `select_files` gives.

    Args:
        paths: Files, and folders with all that is below.
        exclude: Globs of what is left out, matched against the path below the folder, and against each name.
        tests: Whether files of tests are read too; a file that is given is read whatever it is.
    """
    selected = select_files(paths, exclude=exclude, tests=tests)
    found = Found([], [], selected.tests, selected.empty)
    for path in selected.files:
        _read(path, found)
    return found


def select_files(
    paths: Sequence[Path], *, exclude: Collection[str] = (), tests: bool = False
) -> Selection:
    """Find the Python files of some folders, and open none.

    Args:
        paths: Files, and folders with all that is below.
        exclude: Globs of what is left out, matched against the path below the folder, and against each name.
        tests: Whether files of tests are read too; a file that is given is read whatever it is.
    """
    files, empty = [], []
    skipped, seen = 0, set()
    for given in paths:
        below = list(_python_files(given, exclude))
        if not below:
            empty.append(_shown(given))
        for path in below:
            name = path.relative_to(given).as_posix() if path != given else ""
            if path in seen:
                continue
            seen.add(path)
            if not tests and _TESTS.search(name):
                skipped += 1
            else:
                files.append(path)
    return Selection(files, skipped, empty)


def _read(path: Path, found: Found) -> None:
    shown = _shown(path)
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            found.unreadable.append(
                (shown, f"it has {size:,} bytes, and more than {MOST_BYTES:,} are not read")
            )
            return
        found.files.append(SourceFile(path, shown, path.read_bytes()))
    except OSError as fault:
        found.unreadable.append((shown, f"it cannot be read ({type(fault).__name__})"))


def _python_files(given: Path, exclude: Collection[str]) -> Iterator[Path]:
    """Those of a folder, foreign ones left out, in order; a file itself."""
    if not given.is_dir():
        yield given
        return
    for folder, inner, names in os.walk(given):
        here = Path(folder)
        inner[:] = sorted(
            each
            for each in inner
            if _is_own(here / each) and not _is_out(here / each, given, exclude)
        )
        for name in sorted(names):
            if name.endswith(".py") and not _is_out(here / name, given, exclude):
                yield here / name


def _is_own(folder: Path) -> bool:
    foreign = folder.name in _FOREIGN or folder.name.startswith(".")
    return not foreign and not (folder / "pyvenv.cfg").exists()


def _is_out(path: Path, given: Path, exclude: Collection[str]) -> bool:
    below = path.relative_to(given).as_posix()
    return any(fnmatchcase(below, glob) or fnmatchcase(path.name, glob) for glob in exclude)


def _shown(path: Path) -> str:
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()


def module_name(path: Path) -> str:
    """The dotted name: the packages above are folders with an `__init__.py`."""
    parts = [] if path.name == "__init__.py" else [path.stem]
    folder = path.resolve().parent
    while (folder / "__init__.py").exists():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts)


def named(files: Sequence[SourceFile]) -> Callable[[str], Module | None]:
    """What gives a module by its dotted name, and parses it then.

    A folder without an `__init__.py` may be a package, and one with it may lie in another: each end of a path is a name, if no
    other file has it. A package's own name comes first.
    """
    by_name: dict[str, SourceFile | None] = {}
    for file in files:
        parts = file.path.with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        for start in range(len(parts)):
            name = ".".join(parts[start:])
            by_name[name] = None if name in by_name else file
    by_name |= {module_name(file.path): file for file in files}

    def find(name: str) -> Module | None:
        file = by_name.get(name)
        return None if file is None else file.module()

    return find


@contextmanager
def collection_paused() -> Iterator[None]:
    """No garbage collection: going through all that was parsed again and again takes three times as long as parsing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
