"""`pgp-config init`: a new service, that passes its own tests at once."""

from __future__ import annotations

import json
import keyword
import re
import shutil
import sys
import tempfile
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

import typer

from pgp_config.errors import PgpConfigError
from pgp_config.sources.urls import source_from_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

#: How it ended. 2 is a wrong use of the command, as typer has it.
FAILED = 1

#: A service's name on Cloud Run: letters, digits and hyphens, 49 at most.
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST_NAME = 49

#: What may be in a source's URL, so that it can stand in Python, in Markdown and in a shell.
_SOURCE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9/?&=.,:%+_~@-]*")

#: What the service imports, or what would hide one of these; a package of that name would be in the way.
_TAKEN = frozenset(
    {
        *(
            "app",
            "dependency_injector",
            "fastapi",
            "flask",
            "google",
            "grpc",
            "gunicorn",
            "httpx",
            "httpx2",
            "mypy",
        ),
        *(
            "pgp_config",
            "pgp_config_fastapi",
            "pgp_config_flask",
            "pip",
            "pydantic",
            "pytest",
            "ruff",
            "secrets",
        ),
        *("setuptools", "src", "starlette", "tests", "typing_extensions", "uvicorn", "werkzeug"),
    }
)

Framework = Literal["flask", "fastapi"]

#: Ours are without a version; `_listed` gives them that of this command.
_DEPENDENCIES = {
    "flask": ("flask>=3.0", "gunicorn>=23", "pgp-config[google]", "pgp-config-flask"),
    "fastapi": ("fastapi>=0.110.1", "pgp-config[google]", "pgp-config-fastapi", "uvicorn>=0.30"),
}
_DEV = {
    "flask": ("mypy>=1.11", "pgp-config[cli]", "pytest>=8.3", "ruff>=0.6"),
    # Starlette's test client wants httpx2; an older one httpx, which the command brings.
    "fastapi": ("httpx2>=2.0", "mypy>=1.11", "pgp-config[cli]", "pytest>=8.3", "ruff>=0.6"),
}
_RUN = {"flask": "gunicorn {}.wsgi:app", "fastapi": "uvicorn {}.asgi:app"}
#: One process: a worker more loads the static secrets once more, and is a process that a rotation waits for.
_OPTIONS = {
    "flask": "--bind=0.0.0.0:$PORT --workers=1 --threads=8",
    "fastapi": "--host=0.0.0.0 --port=$PORT",
}


def init(
    name: Annotated[str, typer.Argument(help="The service's name, such as my-service.")],
    framework: Annotated[
        Framework, typer.Option(help="What it is written with.", show_default=False)
    ],
    source: Annotated[
        str,
        typer.Option(help="Where its secrets come from by default, such as gsm://my-project."),
    ] = "env:",
    folder: Annotated[
        Path, typer.Option("--in", help="The folder in which the service's own one is made.")
    ] = Path(),
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON document, and nothing else.")
    ] = False,
) -> None:
    """Make a new service: a container, an application, tests, and what packages and deploys it.

    It passes its own tests at once, one of which rotates a secret. The folder is complete or not there: nothing is
    half written, and a folder with something in it is left alone.

    It ends with 0, with 1 where the folder cannot be made, or with 2 where a name, a source or the folder of --in is none.
    """
    _refuse_name(name)
    _refuse_source(source)
    if not folder.is_dir():
        raise typer.BadParameter(
            "There is no such folder. Make it, or give another one.", param_hint="--in"
        )
    target = folder / name
    try:
        written = _make(target, _contents(name, framework, source))
    except OSError as fault:
        why = "it is there already, and not empty" if _is_filled(target) else type(fault).__name__
        text = f"{target} cannot be made: {why}. Choose another name, or another folder: --in."
        typer.echo(text, err=True)
        if as_json:
            typer.echo(
                _document(target, framework, [], {"type": type(fault).__name__, "text": text})
            )
        raise typer.Exit(FAILED) from None
    if as_json:
        typer.echo(_document(target, framework, written, None))
        return
    typer.echo(f"{target} is a {_title(framework)} service of {len(written)} files. Go on:")
    typer.echo(
        f"  cd {target}\n  python -m venv .venv && .venv/bin/pip install -e '.[dev]'\n  .venv/bin/pytest"
    )


def _document(
    target: Path, framework: Framework, written: list[str], error: dict[str, str] | None
) -> str:
    code = 0 if error is None else FAILED
    document = {"folder": str(target), "framework": framework, "files": written}
    return json.dumps({**document, "error": error, "exit_code": code}, indent=2)


# -- what is given -----------------------------------------------------------------------------


def _refuse_name(name: str) -> None:
    package = _package(name)
    why = None
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        why = f"is no name of a service: small letters, digits and single hyphens, from a letter on, {_LONGEST_NAME} at most"
    elif keyword.iskeyword(package) or keyword.issoftkeyword(package):
        why = "is a word of Python's own"
    elif package in sys.stdlib_module_names:
        why = "is a module of Python's standard library, which it would hide"
    elif package in _TAKEN:
        why = "is what the service imports, or a folder of it"
    if why:
        # It is not quoted: it may be a value given by mistake.
        raise typer.BadParameter(
            f"It {why}. Choose another one, such as my-service.", param_hint="NAME"
        )


def _refuse_source(source: str) -> None:
    # It is not quoted: it may have a password in it.
    if not _SOURCE.fullmatch(source):
        raise typer.BadParameter(
            "It is no URL of a source, such as gsm://my-project or env:.", param_hint="--source"
        )
    if "@" in urlsplit(source).netloc:
        raise typer.BadParameter(
            "It has a user or a password in it, and would stand in the source code. Leave it out, and give the "
            "service PGP_CONFIG_SOURCE.",
            param_hint="--source",
        )
    try:
        source_from_url(source)
    except PgpConfigError as error:
        raise typer.BadParameter(str(error), param_hint="--source") from None


# -- what is written ---------------------------------------------------------------------------


def _package(name: str) -> str:
    return name.replace("-", "_")


def _title(framework: Framework) -> str:
    return {"flask": "Flask", "fastapi": "FastAPI"}[framework]


def _contents(name: str, framework: Framework, source: str) -> dict[str, str]:
    """The text of each file, by its path in the service's folder."""
    package = _package(name)
    run = _RUN[framework].format(package)
    words = {
        "NAME": name,
        "PACKAGE": package,
        "CLASS": "".join(part.capitalize() for part in name.split("-")),
        "SOURCE": source,
        "FRAMEWORK": _title(framework),
        "DEPENDENCIES": _listed(_DEPENDENCIES[framework]),
        "DEV_DEPENDENCIES": _listed(_DEV[framework]),
        "RUN": run,
        "RUN_PORT": "8000",
        "COMMAND": json.dumps(["sh", "-c", f"exec {run} {_OPTIONS[framework]}"]),
    }
    templates = files("pgp_config") / "templates"
    return {
        _filled(path, words): _filled(template.read_text(encoding="utf-8"), words)
        for part in ("common", framework)
        for path, template in _templates(templates / part, "")
    }


def _listed(requirements: tuple[str, ...]) -> str:
    bound = _bound(version("pgp-config"))
    bounded = (each + bound if each.startswith("pgp-config") else each for each in requirements)
    return "\n".join(f"  {json.dumps(each)}," for each in bounded)


def _bound(installed: str) -> str:
    """What breaks nothing: before 1.0 the same minor version, then the same major one."""
    major, minor, *_ = installed.split(".")
    return f"~={installed}" if major == "0" else f"~={major}.{minor}"


def _templates(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    for each in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if each.is_dir():
            yield from _templates(each, f"{path}{each.name}/")
        else:
            # A .gitignore of the templates' own would take files out of the wheel.
            yield f"{path}{re.sub('^dot-', '.', each.name.removesuffix('.tmpl'))}", each


def _filled(text: str, words: Mapping[str, str]) -> str:
    """Each `__WORD__` in a text is replaced, once: what comes in is not looked at again."""
    pattern = "|".join(sorted(words, key=len, reverse=True))
    return re.sub(f"__({pattern})__", lambda match: words[match[1]], text)


def _is_filled(target: Path) -> bool:
    return target.exists() and (not target.is_dir() or any(target.iterdir()))


def _make(target: Path, contents: Mapping[str, str]) -> list[str]:
    """Write all files beside the folder, and put it in its place at once.

    Raises:
        OSError: If it cannot be written, or something is there.
    """
    if _is_filled(target):
        raise FileExistsError
    built = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        built.chmod(0o755)  # a temporary folder is its owner's alone
        for path, text in contents.items():
            file = built / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        # Fails where somebody has put something there meanwhile; an empty folder is replaced.
        built.rename(target)
    finally:
        shutil.rmtree(built, ignore_errors=True)
    return sorted(contents)
