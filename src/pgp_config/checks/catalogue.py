"""The list of secrets that a team keeps, as a file, compared with what is declared and with what there is."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgp_config.checks.findings import Finding
from pgp_config.errors import DeclarationError
from pgp_config.importing import imported, is_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pgp_config.checks.inventory import Row

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_CLASSES = ("static", "dynamic")
_FORM = (
    "Write a .csv with the columns name, class, type and services, or a .json or .yaml with a list of objects of "
    "these keys; all but the name may be left out."
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A secret as the catalogue has it; None where it does not say.

    Attributes:
        name: Its name in the source.
        reload_class: "static" or "dynamic".
        declared: Its type: a name such as `SecretStr`, or `module:attribute`.
        services: Which may read it.
    """

    name: str
    reload_class: str | None = None
    declared: str | None = None
    services: frozenset[str] | None = None


def read_catalogue(file: Path) -> dict[str, Entry]:
    """The entries of a catalogue, by name.

    Other columns and keys than name, class, type and services are left alone.

    Raises:
        DeclarationError: If it cannot be read, or is not of the form. Of its contents no more is shown than where the
            fault is: it may not be a catalogue at all.
    """
    kind = file.suffix.lower()
    if kind not in _READERS:
        raise _fault(file, "its name ends neither in .csv, .json, .yaml nor .yml")
    try:
        text = file.read_text("utf-8-sig")
    except OSError as failure:
        raise _fault(file, f"it cannot be read ({failure.strerror})") from None
    except UnicodeDecodeError:
        text = None  # not raised from here: the error holds the contents
    if text is None:
        raise _fault(file, "it is not UTF-8")
    entries: dict[str, Entry] = {}
    for place, content in _READERS[kind](file, text):
        entry = _entry(file, place, content)
        if entry.name in entries:
            raise _fault(file, f"{place} repeats a name")
        entries[entry.name] = entry
    return entries


# -- the forms of a file -----------------------------------------------------------------------


def _of_csv(file: Path, text: str) -> Iterator[tuple[str, Any]]:
    rows = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    columns = [(column or "").strip().lower() for column in rows.fieldnames or []]
    if "name" not in columns:
        raise _fault(file, "its first line has no column name")
    rows.fieldnames = columns
    for row in rows:
        yield f"line {rows.line_num}", {key: value for key, value in row.items() if value}


def _of_json(file: Path, text: str) -> Iterator[tuple[str, Any]]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None  # as above
    return _of_document(file, document)


def _of_yaml(file: Path, text: str) -> Iterator[tuple[str, Any]]:
    try:
        import yaml  # noqa: PLC0415  an extra
    except ImportError:
        raise DeclarationError(
            f"the catalogue {file} is YAML, and PyYAML is not installed",
            remedy="Install it (pip install 'pgp-config[yaml]'), or keep the catalogue as .csv or .json.",
        ) from None
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        document = None  # as above
    return _of_document(file, document)


def _of_document(file: Path, document: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  JSON
    if isinstance(document, dict) and isinstance(document.get("secrets"), list | dict):
        document = document["secrets"]
    if isinstance(document, dict):
        document = [
            {**content, "name": name} if isinstance(content, dict) else None
            for name, content in document.items()
        ]
    if not isinstance(document, list):
        raise _fault(file, "it is neither a list nor an object of objects")
    for number, content in enumerate(document, 1):
        yield f"entry {number}", content


_READERS = {".csv": _of_csv, ".json": _of_json, ".yaml": _of_yaml, ".yml": _of_yaml}


def _entry(file: Path, place: str, content: Any) -> Entry:  # noqa: ANN401  JSON
    if not isinstance(content, dict):
        raise _fault(file, f"{place} is no object")
    name, kind = content.get("name"), content.get("class")
    declared, services = content.get("type"), content.get("services")
    if not isinstance(name, str) or _NAME.fullmatch(name.strip()) is None:
        raise _fault(file, f"{place} has no name that a secret can have")
    kind = kind.strip().lower() if isinstance(kind, str) else kind
    if kind not in (None, *_CLASSES):
        raise _fault(file, f"{place} has a class that is neither static nor dynamic")
    if not isinstance(declared, str | None):
        raise _fault(file, f"{place} has a type that is no text")
    parts = re.split(r"[\s,;]+", services.strip()) if isinstance(services, str) else services
    if parts is not None and not (
        isinstance(parts, list) and all(isinstance(part, str) for part in parts)
    ):
        raise _fault(file, f"{place} has services that are no texts")
    kept = None if parts is None else frozenset(part for part in parts if part)
    return Entry(name.strip(), kind, declared.strip() if declared else None, kept)


def _fault(file: Path, happened: str) -> DeclarationError:
    return DeclarationError(f"the catalogue {file}: {happened}", remedy=_FORM)


# -- the comparison ----------------------------------------------------------------------------


def drift(
    entries: Mapping[str, Entry],
    rows: Sequence[Row],
    services: Collection[str],
    held: Iterable[str] | None,
) -> list[Finding]:
    """Where the catalogue, the declarations and the source differ.

    Args:
        entries: The catalogue.
        rows: What is declared.
        services: Those whose containers were looked at; what the catalogue says of others is not compared.
        held: The names that the source holds; None where it does not tell.
    """
    found: list[Finding] = []
    for row in rows:
        if row.name in entries:
            found += _differences(entries[row.name], row, services)
        else:
            found.append(_uncatalogued(row))
    declared = {row.name for row in rows}
    for entry in entries.values():
        lacking = sorted((entry.services or frozenset()) & set(services))
        if entry.name not in declared and lacking:
            found.append(_undeclared_by(entry.name, lacking))
    if held is not None:
        found += _of_held(entries, declared, set(held))
    return found


def _uncatalogued(row: Row) -> Finding:
    return Finding(
        "uncatalogued",
        "error",
        row.name,
        f"is declared by {', '.join(row.services)}, and is not in the catalogue",
        "Add it to the catalogue, or remove the declaration.",
    )


def _undeclared_by(name: str, services: Sequence[str]) -> Finding:
    return Finding(
        "services-differ",
        "warning",
        name,
        f"may be read by {', '.join(services)} by the catalogue, and is not declared there",
        "Correct the catalogue, and take away the right to read it; or declare it.",
    )


def _of_held(
    entries: Mapping[str, Entry], declared: Collection[str], held: Collection[str]
) -> Iterator[Finding]:
    for name in sorted(set(entries) - set(held) - set(declared)):
        yield Finding(
            "missing",
            "error",
            name,
            "is in the catalogue, and the source has no such secret",
            "Create it, or remove it from the catalogue.",
        )
    for name in sorted(set(held) - set(entries) - set(declared)):
        yield Finding(
            "undeclared",
            "warning",
            name,
            "is in the source, and neither in the catalogue nor declared",
            "Delete it if nobody needs it (each version costs), or add it to the catalogue.",
        )


def _differences(entry: Entry, row: Row, services: Collection[str]) -> Iterator[Finding]:
    if entry.reload_class is not None and row.classes != (entry.reload_class,):
        yield Finding(
            "class-differs",
            "error",
            row.name,
            f"is declared {row.reload_class}, and {entry.reload_class} in the catalogue",
            "Correct one of them: static if a change needs a restart.",
        )
    if entry.declared is not None and not _is_type(entry.declared, row):
        yield Finding(
            "type-differs",
            "error",
            row.name,
            f"is declared as {' and '.join(row.types)}, and the catalogue has another type",
            "Correct one of them. The catalogue's type is the name of a type, or module:attribute.",
        )
    if entry.services is not None:
        yield from _services_differ(row, entry.services, services)


def _services_differ(
    row: Row, listed: frozenset[str], services: Collection[str]
) -> Iterator[Finding]:
    more = sorted(set(row.services) - listed)
    if more:
        yield Finding(
            "services-differ",
            "error",
            row.name,
            f"is declared by {', '.join(more)}, and the catalogue does not name it among the services",
            "Add the service to the catalogue, or remove the declaration.",
        )
    less = sorted((listed & set(services)) - set(row.services))
    if less:
        yield _undeclared_by(row.name, less)


def _is_type(named: str, row: Row) -> bool:
    if is_path(named):
        wanted = imported(named)
        return all(secret.spec.decoder.declared == wanted for secret in row.secrets)
    return [named.lower()] == sorted({kind.lower() for kind in row.types})
