"""How this process is called: on its status page, in its log, in the uptake store, and in `rotate` and `tail`."""

from __future__ import annotations

import itertools
import os
import secrets
import socket

#: The random part of each process's name, and how many of its containers have a name; by process id, so that a
#: forked child has its own at once. `setdefault` is atomic: no lock has to survive a fork.
_parts: dict[int, str] = {}
_counts: dict[int, itertools.count[int]] = {}


def host_name() -> str:
    """The revision on Cloud Run, where hosts have no names; else the host."""
    return os.environ.get("K_REVISION") or socket.gethostname()


def process_name() -> str:
    """Its host, its process id, and a random part; a forked child is another process."""
    pid = os.getpid()
    return f"{host_name()}-{pid}-{_parts.setdefault(pid, secrets.token_hex(4))}"


def reporting_name() -> str:
    """The name under which one container of this process reports: that of the process, and ".2" for the second.

    Two under one name would overwrite each other's versions, and "safe" would be said of one of them alone.
    """
    number = next(_counts.setdefault(os.getpid(), itertools.count(1)))
    return process_name() + (f".{number}" if number > 1 else "")
