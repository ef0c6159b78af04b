"""Promise 16 under gevent: a wait for the source gives way to the other greenlets."""

import subprocess
import sys

import pytest

pytest.importorskip("gevent", reason="gevent is not installed")

PROGRAM = """
from gevent import monkey; monkey.patch_all()
import gevent, gevent.event
from pgp_config import DynamicSecret, SecretContainer, request_scope
from pgp_config.secret import Payload

answer = gevent.event.Event()

class Slow:
    calls = 0
    def fetch(self, name, version="latest"):
        self.calls += 1
        answer.wait()
        return Payload(b"value", 1)

class Service(SecretContainer):
    key = DynamicSecret("GEVENT_KEY", str)

source = Slow()
secrets = Service(source=source)

def request():
    with request_scope():
        return secrets.key()

readers = [gevent.spawn(request) for _ in range(50)]
gevent.spawn(answer.set)
gevent.joinall(readers, raise_error=True)
assert {reader.value for reader in readers} == {"value"}
secrets.close()
print("calls:", source.calls)
"""


FETCHING = """
from gevent import monkey; monkey.patch_all()
import sys, gevent
from pgp_config import source_from_url

source = source_from_url(sys.argv[1])
readers = [gevent.spawn(source.fetch, "KEY") for _ in range(20)]
gevent.joinall(readers, raise_error=True)
print({reader.value.version for reader in readers})
source.close()
"""

FORKS = """
from gevent import monkey; monkey.patch_all()
import os, sys
from pgp_config import EVERY_REQUEST, DynamicSecret, Memory, SecretContainer

class Service(SecretContainer):
    key = DynamicSecret("GEVENT_KEY", str)

source = Memory({"GEVENT_KEY": "value"})
secrets = Service(source=source, freshness=EVERY_REQUEST)
secrets.load()
child = os.fork()
value = secrets.key()
secrets.close()
if child == 0:
    sys.exit(value != "value")
print("parent:", value, "child:", os.waitpid(child, 0)[1])
"""

BUILDING = """
from gevent import monkey; monkey.patch_all()
import gevent, gevent.event
from pgp_config import EVERY_REQUEST, DynamicSecret, Memory, PerVersion, SecretContainer, request_scope

go_on, built, closed = gevent.event.Event(), [], gevent.event.Event()

def build(value):
    go_on.wait()
    built.append(value)
    return value

class Service(SecretContainer):
    key = DynamicSecret("GEVENT_KEY", str, freshness=EVERY_REQUEST)
    made = PerVersion(build, key, close=lambda made: closed.set())

source = Memory({"GEVENT_KEY": "v1"})
secrets = Service(source=source)

def request():
    with request_scope():
        return secrets.made()

readers = [gevent.spawn(request) for _ in range(50)]
gevent.spawn(go_on.set)
gevent.joinall(readers, raise_error=True)
source.add("GEVENT_KEY", "v2")
print({reader.value for reader in readers}, request(), closed.wait(10), built)
secrets.close()
"""

PATCHED_LATE = """
from pgp_config import DynamicSecret, Memory, SecretContainer
from gevent import monkey; monkey.patch_all()

class Service(SecretContainer):
    key = DynamicSecret("GEVENT_KEY", str)

try:
    Service(source=Memory({"GEVENT_KEY": "value"})).key()
except Exception as error:
    print(type(error).__name__, error)
"""


def run(program, *options, argument=""):
    run = subprocess.run(
        [sys.executable, *options, "-c", program, argument],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stderr == ""
    return run.stdout


# promise 16
def test_greenlets_share_a_fetch_and_do_not_block_one_another():
    assert run(PROGRAM, "-W", "error") == "calls: 1\n"


# promise 16
def test_greenlets_fetch_over_rest(secret_manager):
    secret_manager.add("KEY", "canary")
    url = f"gsm://local?endpoint={secret_manager.rest_endpoint}&transport=rest"
    assert run(FETCHING, "-W", "error", "-W", "ignore::FutureWarning", argument=url) == "{1}\n"


# promise 16
def test_a_child_is_rid_of_the_parents_greenlets_and_both_go_on():
    told = run(FORKS, "-W", "error", "-W", "ignore:This process")
    assert told == "parent: value child: 0\n"


# promises 16 and 17
def test_greenlets_share_a_build_and_do_not_block_one_another():
    assert run(BUILDING, "-W", "error") == "{'v1'} v2 True ['v1', 'v2']\n"


# promise 16
def test_a_patch_after_the_import_is_refused_with_the_cure():
    told = run(PATCHED_LATE, "-W", "ignore")
    assert told.startswith("DeclarationError")
    assert "Patch first." in told
