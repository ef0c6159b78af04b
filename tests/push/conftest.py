"""Google's own Pub/Sub emulator, one for all tests of this folder."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import uuid
from pathlib import Path

import pytest


def _launcher():
    """The emulator's own launcher in the Cloud SDK, or why there is none."""
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        return None, "the Google Cloud CLI (gcloud) is not installed"
    if shutil.which("java") is None:
        return None, "Java is not installed"
    root = Path(gcloud).resolve().parent.parent
    launcher = root / "platform/pubsub-emulator/bin/cloud-pubsub-emulator"
    return (launcher, "") if launcher.exists() else (None, "gcloud has no Pub/Sub emulator")


def _drain(process, listening):
    """Read its log to the end: it would wait for a reader else."""
    for line in process.stderr:
        if b"Server started" in line:
            listening.set()


@pytest.fixture(scope="session")
def pubsub_emulator():
    """`host:port` of a running one."""
    launcher, missing = _launcher()
    if launcher is None and "CI" not in os.environ:
        pytest.skip(missing)
    assert launcher, f"CI has to have the Pub/Sub emulator: {missing}"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [launcher, "--host=127.0.0.1", f"--port={port}"],
        env={**os.environ, "JAVA_OPTS": "-Xmx256m"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    listening = threading.Event()
    draining = threading.Thread(target=_drain, args=(process, listening))
    draining.start()
    try:
        assert listening.wait(180), "the Pub/Sub emulator does not listen"
        yield f"127.0.0.1:{port}"
    finally:
        # Its own session: the launcher's children end with it.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        draining.join(30)
        process.stderr.close()


@pytest.fixture
def pubsub(pubsub_emulator, monkeypatch):
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    return pubsub_emulator


@pytest.fixture
def topic(pubsub):
    """A topic of the test's own."""
    from google.cloud import pubsub_v1

    name = f"projects/local/topics/secrets-{uuid.uuid4().hex}"
    with pubsub_v1.PublisherClient() as publisher:
        publisher.create_topic(request={"name": name}, timeout=30)
    return name
