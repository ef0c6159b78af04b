"""A Celery application with its own worker: `celery -A celery_tasks worker`, over a broker of files."""

import os
import pathlib
import threading

from celery import Celery, signals

from pgp_config import EVERY_REQUEST, Directory, DynamicSecret, SecretContainer, StaticSecret
from pgp_config.integrations.celery import install
from pgp_config.scopes import open_scope

FOLDER = pathlib.Path(os.environ["CELERY_FOLDER"])


class Jobs(SecretContainer):
    key = DynamicSecret("CELERY_KEY", str, freshness=EVERY_REQUEST)
    fixed = StaticSecret("CELERY_FIXED", str)


class Noisy(Directory):
    """Says in a file of its own what is loaded and closed, and by which process."""

    def fetch(self, name, version="latest"):
        self.say("fetched", name)
        return super().fetch(name, version)

    def close(self):
        self.say("closed")

    def say(self, *words):
        with (FOLDER / "log").open("a") as log:
            log.write(" ".join([*words, str(os.getpid())]) + "\n")


secrets = Jobs(source=Noisy(FOLDER / "secrets"))
app = Celery("celery_tasks", broker="filesystem://", backend=f"file://{FOLDER}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{FOLDER}/queue",
    "data_folder_out": f"{FOLDER}/queue",
    "control_folder": f"{FOLDER}/control",
    "polling_interval": 0.05,
}
app.conf.worker_redirect_stdouts = False
install(app, secrets)

scopes = []


@signals.worker_ready.connect
def ready(**_):
    print("ready", flush=True)  # noqa: T201  whoever started it waits for it


@app.task(bind=True, max_retries=1)
def job(self, value, retry=False):
    """What a run sees before and after a rotation."""
    scope = open_scope()
    first = secrets.key()
    (FOLDER / "secrets" / "CELERY_KEY").write_text(value)
    if retry and not self.request.retries:
        raise self.retry(args=[f"{value}-retried"], countdown=0)
    before = [each.closed for each in scopes]
    scopes.append(scope)
    return [first, secrets.key(), secrets.fixed(), os.getpid(), all(before), threading.get_ident()]
