"""A real OpenBao, and a server that answers from a script."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests


def _free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


class Bao:
    """`bao server -dev` on this machine, and what an operator does with it."""

    def __init__(self, home, *, tls=False):
        self._home = home
        self._tls = tls
        self.ca = None
        self.root = f"root-{uuid.uuid4().hex}"

    def __enter__(self):
        for _ in range(5):  # it takes the next port too, which somebody may have
            if self._started():
                return self
        pytest.fail(f"OpenBao does not start:\n{self._log.read_text()}")

    def _started(self):
        port = _free_port()
        self.address = f"http{'s' if self._tls else ''}://127.0.0.1:{port}"
        self._log = self._home / "bao.log"
        options = [f"-dev-root-token-id={self.root}", f"-dev-listen-address=127.0.0.1:{port}"]
        if self._tls:
            options += ["-dev-tls", f"-dev-tls-cert-dir={self._home}"]
            self.ca = self._home / "vault-ca.pem"
        binary = Path(sys.executable).parent / "bao"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [binary, "server", "-dev", "-dev-no-store-token", *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"HOME": str(self._home), "PATH": os.environ["PATH"]},
            )
        deadline = time.monotonic() + 60
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(requests.ConnectionError, OSError):
                if self.call("GET", "sys/health").get("initialized"):
                    return True
            time.sleep(0.05)
        self.__exit__()
        return False

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait(30)

    def call(self, verb, path, body=None, *, token=None, namespace=None):
        headers = {"X-Vault-Token": token or self.root}
        if namespace is not None:
            headers["X-Vault-Namespace"] = namespace
        verify = True if self.ca is None else str(self.ca)
        answer = requests.request(
            verb,
            f"{self.address}/v1/{path}",
            json=body,
            headers=headers,
            timeout=30,
            verify=verify,
        )
        if "Upgrading from non-versioned" in answer.text:  # an engine that was just mounted
            time.sleep(0.05)
            return self.call(verb, path, body, token=token, namespace=namespace)
        if answer.status_code >= 400:
            raise AssertionError(f"{verb} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else {}

    def put(self, path, mount="secret", **keys):
        return self.call("POST", f"{mount}/data/{path}", {"data": keys})["data"]["version"]

    def allow(self, policy, *rules):
        """Let the policy have these (path, capability)."""
        text = "\n".join(f'path "{path}" {{ capabilities = ["{what}"] }}' for path, what in rules)
        self.call("PUT", f"sys/policies/acl/{policy}", {"policy": text})

    def token(self, *policies, **options):
        made = self.call("POST", "auth/token/create", {"policies": policies, **options})
        return made["auth"]["client_token"]

    def revoke(self, token):
        self.call("POST", "auth/token/revoke", {"token": token})

    def role(self, name, *policies, **options):
        """An AppRole; its role id and a secret id, if it has such."""
        with contextlib.suppress(AssertionError):  # it is mounted
            self.call("POST", "sys/auth/approle", {"type": "approle"})
        path = f"auth/approle/role/{name}"
        self.call("POST", path, {"token_policies": policies, **options})
        has_secret = options.get("bind_secret_id", True)
        role_id = self.call("GET", f"{path}/role-id")["data"]["role_id"]
        return role_id, self.secret_id(name) if has_secret else None

    def secret_id(self, role):
        made = self.call("POST", f"auth/approle/role/{role}/secret-id", {})
        return made["data"]["secret_id"]

    def seal(self):
        self.call("PUT", "sys/seal")

    def unseal(self):
        key = self._log.read_text().split("Unseal Key: ")[1].split()[0]
        self.call("PUT", "sys/unseal", {"key": key})
        while self.call("GET", "sys/health?standbycode=200")["standby"]:
            time.sleep(0.05)  # pragma: no cover  # where it takes a moment


@pytest.fixture(scope="session")
def bao(tmp_path_factory):
    assert shutil.which("bao") or (Path(sys.executable).parent / "bao").exists()
    with Bao(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture(scope="session")
def bao_with_tls(tmp_path_factory):
    with Bao(tmp_path_factory.mktemp("bao-tls"), tls=True) as server:
        yield server


@pytest.fixture
def prefix():
    """Where a test keeps its secrets, apart from those of others."""
    return f"t-{uuid.uuid4().hex}/"


@pytest.fixture
def reader(bao, prefix):
    """The policy that may read what is below the prefix."""
    name = f"read-{prefix[:-1]}"
    bao.allow(name, (f"secret/data/{prefix}*", "read"))
    return name


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("VAULT_", "BAO_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


class Scripted:
    """Answers each request with the next step of its script, and the last one again and again."""

    def __init__(self):
        self.script = []
        self.asked = []
        self.released = threading.Event()
        handler = type("Handler", (_Handler,), {"scripted": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    scripted = None

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        scripted = self.scripted
        scripted.asked.append(f"{self.command} {self.path}")
        step = scripted.script.pop(0) if len(scripted.script) > 1 else scripted.script[0]
        if step == "stall":
            scripted.released.wait(60)
            return
        code, body = step
        self.send_response(code)
        if code == 307:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815  the names are the standard library's

    def log_message(self, *_):
        pass


@pytest.fixture
def scripted():
    with Scripted() as server:
        yield server


@pytest.fixture
def once(monkeypatch):
    """Has the first attempt be the last: no time is left that is worth another."""
    monkeypatch.setattr("pgp_config.sources.retries.LEAST_ATTEMPT", 30)
