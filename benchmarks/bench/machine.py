"""What a run was measured on, and with which versions."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

from bench.results import Machine

BENCHMARKS = Path(__file__).parent.parent

#: Packages whose version a reader of the results wants to know, besides the peers.
ALSO = (
    "pgp-config",
    "dependency-injector",
    "fastapi",
    "flask",
    "google-cloud-secret-manager",
    "grpcio",
    "gunicorn",
    "pydantic",
    "starlette",
    "uvicorn",
)


def this_machine() -> Machine:
    """What this process runs on."""
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=processor(),
        cores=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        memory=_memory(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def processor() -> str:
    """The processor's model, or its architecture where the system does not tell."""
    try:
        described = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", described, re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def versions() -> dict[str, str]:
    """The versions of the peers and of what they run on, as installed."""
    text = (BENCHMARKS / "requirements.in").read_text(encoding="utf-8")
    names = sorted({*ALSO, *required_names(text)})
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def required_names(text: str) -> list[str]:
    """The names in a requirements file, without stubs, which nothing runs."""
    names = (re.match(r"[A-Za-z0-9][\w.-]*", line) for line in text.splitlines())
    return [found[0] for found in names if found and not found[0].startswith("types-")]


def commit() -> str | None:
    """The commit of this project, with "+" where files were changed since; None outside of git."""
    try:
        head = _git("rev-parse", "--short", "HEAD").strip()
        changed = _git("status", "--porcelain", "--untracked-files=no").strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}+" if changed else head


def _git(*arguments: str) -> str:
    done = subprocess.run(  # noqa: S603  fixed arguments
        ["git", *arguments],  # noqa: S607  whichever git this person uses
        cwd=BENCHMARKS,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout
