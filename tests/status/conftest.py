"""A shop with secrets in every state, its status page on a real server, and Debian's Chromium to look at it."""

import contextlib
import functools
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import HttpUrl
from werkzeug.serving import make_server

from pgp_config import (
    EVERY_REQUEST,
    DynamicSecret,
    Freshness,
    KeyRing,
    PgpConfigError,
    SecretContainer,
    SourceTimeout,
    StaticSecret,
    request_scope,
)
from pgp_config.push.event import SecretEvent
from pgp_config.status import StatusPage
from pgp_config.status.journal import Journal
from pgp_config.wsgi import ScopeMiddleware, StatusMiddleware

#: Milliseconds after which something never happens.
PATIENCE = 60_000

#: Seconds since 1970 of the wall clock when the fake clock stands at 0.
EPOCH = 1_795_600_000


class Payments(SecretContainer):
    signing_key = StaticSecret("SUCCESS_URL_SIGNING_KEY")
    api_key = DynamicSecret("CHANGENOW_API_KEY", freshness=EVERY_REQUEST)
    flat_fee = DynamicSecret("TP_FLAT_FEE", int)
    split1_url = DynamicSecret("PGP_SPLIT1_URL", HttpUrl, freshness=Freshness(60))
    ipn = KeyRing("NOWPAYMENTS_IPN_SECRET")
    alerting = DynamicSecret("ALERTING_ENABLED", bool)
    telegram = DynamicSecret("TELEGRAM_BOT_TOKEN", freshness=Freshness(5, 60))


VALUES = {
    "SUCCESS_URL_SIGNING_KEY": "canary-s1",
    "CHANGENOW_API_KEY": "canary-k1",
    "TP_FLAT_FEE": "31337001",
    "PGP_SPLIT1_URL": "https://canary.example",
    "NOWPAYMENTS_IPN_SECRET": "canary-i1",
    "ALERTING_ENABLED": "true",
    "TELEGRAM_BOT_TOKEN": "canary-t1",
}


def apart(function):
    """Run it in another thread: in the tests' own, Playwright's loop runs, where no read may wait."""

    @functools.wraps(function)
    def run(*args, **named):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(function, *args, **named).result(30)

    return run


class Stage:
    """A loaded container, its page, and what can befall both."""

    def __init__(self, source, clock, make, *, every=0.05):
        self.source, self.clock = source, clock
        for name, value in VALUES.items():
            if not source.count(name):  # another process has it
                source.add(name, value)
        self.secrets = make(Payments)
        self.page = StatusPage(lambda request: self.admitted, every=every)
        self.journal = Journal(clock, wall=lambda: EPOCH + clock.now)
        self.page.attach(self.secrets, journal=self.journal)
        apart(self.secrets.load)()
        self.admitted = True
        self.app = StatusMiddleware(ScopeMiddleware(self._answer), self.secrets, self.page)

    def _answer(self, environ, start_response):
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"the application's own page"]

    @apart
    def rotate(self, name="CHANGENOW_API_KEY", value="canary-k2"):
        self.source.add(name, value)
        with request_scope():
            self.secrets.api_key()

    @apart
    def refresh(self, *attributes):
        """Look again; it may fail."""
        for attribute in attributes:
            with contextlib.suppress(PgpConfigError):
                getattr(self.secrets, attribute).refresh()

    @property
    def instance(self):
        return self.page._status.instance

    def announce(self, name, version):
        resource = f"projects/p/secrets/{name}"
        attributes = {
            "eventType": "SECRET_VERSION_ADD",
            "secretId": resource,
            "versionId": f"{resource}/versions/{version}",
        }
        return self.secrets.announce(SecretEvent.from_attributes(attributes))

    def fail(self, *names):
        for name in names:
            fault = SourceTimeout(
                "the source did not answer within 2 s",
                remedy="Look at the source's state and at the network on the way to it.",
            )
            self.source.fail(name, fault)

    @apart
    def befall(self):
        """One after the other, what makes the states that a page can show."""
        secrets = self.secrets
        with request_scope():
            for secret in (secrets.api_key, secrets.flat_fee, secrets.split1_url, secrets.ipn):
                secret()
            secrets.telegram()
        self.clock.advance(95)
        self.fail("TELEGRAM_BOT_TOKEN", "PGP_SPLIT1_URL")
        self.source.add("TP_FLAT_FEE", "canary, and no number")
        self.refresh("telegram", "split1_url", "flat_fee")
        self.clock.advance(11)
        self.announce("SUCCESS_URL_SIGNING_KEY", 2)
        self.source.add("CHANGENOW_API_KEY", "canary-k2")
        with request_scope():
            secrets.api_key()
        self.clock.advance(1.4)


class Served:
    """The page on a port of 127.0.0.1."""

    def __init__(self, app):
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self._server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self._server.port}/_secrets"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self):
        self._server.shutdown()
        self._thread.join(30)
        self._server.server_close()


@pytest.fixture
def stage(source, clock, make):
    return Stage(source, clock, make)


@pytest.fixture
def serve():
    started = []

    def start(app):
        started.append(Served(app))
        return started[-1].url

    yield start
    for served in started:
        served.stop()


@pytest.fixture(scope="module")
def chromium():
    """Headless; for the tests of one module, because Playwright's loop is its thread's until it ends."""
    program = shutil.which("chromium")
    if program is None and "CI" not in os.environ:
        pytest.skip("Chromium is not on this machine: scripts/packages installs it")
    assert program, "CI has to have Chromium: scripts/packages installs it"
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        # As root, as in CI, Chromium has no sandbox. Grey edges of letters make small pictures.
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-lcd-text"]
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Opens a page in a context of its own; at the end, the browser must have had nothing to complain of."""
    contexts, complaints = [], []

    def start(url, *, ready="#live[data-live=on]", clock=False, script="", **options):
        context = chromium.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.complaints = complaints
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        if clock:
            page.clock.install()
        page.add_init_script(script)
        page.goto(url)
        page.wait_for_selector(ready)
        return page

    yield start
    for context in contexts:
        context.close()
    assert complaints == []
