"""What every program of this folder reads, and what it shows of it: a pid, and the labels of values."""

import atexit
import os

from pgp_config import DynamicSecret, GoogleSecretManager, SecretContainer, StaticSecret


class Service(SecretContainer):
    key = DynamicSecret("PROCESS_KEY")
    other = DynamicSecret("PROCESS_OTHER")
    signing = StaticSecret("PROCESS_SIGNING_KEY")


def new_container():
    """A container as a service makes it; `PROCESS_PATIENCE` lets a test hold calls for longer."""
    times = {}
    patience = os.environ.get("PROCESS_PATIENCE")
    if patience is not None:
        times = {"attempt_timeout": float(patience), "total_timeout": float(patience)}
    source = GoogleSecretManager("local", endpoint=os.environ["PROCESS_ENDPOINT"], **times)
    container = Service(source=source)
    if patience is not None:
        container._cache.budget = float(patience)
    atexit.register(container.close)
    return container


def admit(request):
    """Everybody may see the status page."""
    return True


def seen(*values):
    """The number at the end of each value is no secret."""
    labels = [int(value.get_secret_value().rpartition("-")[2]) for value in values]
    return {"pid": os.getpid(), "labels": labels}


def read(secrets):
    return seen(secrets.key(), secrets.other(), secrets.signing())
