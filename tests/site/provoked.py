"""The errors of docs/errors.md, each as a user meets it. The page shows their texts; a test compares."""

import asyncio
from contextlib import contextmanager, suppress

from dependency_injector import providers

from pgp_config import (
    DynamicSecret,
    Freshness,
    GoogleSecretManager,
    Memory,
    PerVersion,
    ReloadPolicy,
    SecretContainer,
    SecretEvent,
    StaticSecret,
    request_scope,
    rotation_retry,
    source_from_url,
)


class Payments(SecretContainer):
    api_key = DynamicSecret("CHANGENOW_API_KEY")
    flat_fee = DynamicSecret("TP_FLAT_FEE", float)


class Signing(SecretContainer):
    signing_key = StaticSecret("SUCCESS_URL_SIGNING_KEY")


class Pooled(SecretContainer):
    database_url = DynamicSecret("DATABASE_URL")
    engine = PerVersion(lambda _: 1 / 0, database_url)


@contextmanager
def made(kind, source):
    """A container, and its end."""
    secrets = kind(source=source)
    try:
        yield secrets
    finally:
        secrets.close()


@contextmanager
def payments(manager, **options):
    """A container on a local Secret Manager with one of its two secrets."""
    source = GoogleSecretManager("pgp-live", endpoint=manager.endpoint, **options)
    with made(Payments, source) as secrets:
        yield secrets


class Provoked:
    """One method for each example of the page; its name is that of the section.

    Args:
        manager: A local Secret Manager that has CHANGENOW_API_KEY, one version of it.
    """

    def __init__(self, manager):
        self.manager = manager

    def startup_error(self):
        self.manager.deny("CHANGENOW_API_KEY")
        with payments(self.manager) as secrets:
            secrets.load()

    def secret_not_found(self):
        with payments(self.manager) as secrets:
            secrets.flat_fee()

    def secret_forbidden(self):
        self.manager.deny("CHANGENOW_API_KEY")
        with payments(self.manager) as secrets:
            secrets.api_key()

    def secret_disabled(self):
        self.manager.disable("CHANGENOW_API_KEY", 1)
        with payments(self.manager) as secrets:
            secrets.api_key()

    def secret_unavailable(self):
        self.manager.inject("RESOURCE_EXHAUSTED")
        with payments(self.manager, total_timeout=0.1, attempt_timeout=0.1) as secrets:
            secrets.api_key()

    def source_timeout(self):
        self.manager.delay(30)
        with payments(self.manager, total_timeout=0.1, attempt_timeout=0.1) as secrets:
            secrets.api_key()

    def secret_refused(self):
        with made(
            Payments, Memory({"CHANGENOW_API_KEY": "canary", "TP_FLAT_FEE": "1"})
        ) as secrets:

            @rotation_retry(secrets.api_key, on=ConnectionRefusedError, budget=0.01)
            def ask(_):
                secrets.api_key()
                raise ConnectionRefusedError

            for _ in range(
                9
            ):  # the first one hears the refusal itself; the version then rests for a second
                with suppress(ConnectionRefusedError), request_scope():
                    ask()

    def build_error(self):
        with made(Pooled, Memory({"DATABASE_URL": "canary"})) as secrets, request_scope():
            secrets.engine()

    def rejected_version(self):
        source = Memory({"CHANGENOW_API_KEY": "canary", "TP_FLAT_FEE": "canary"})
        with made(Payments, source) as secrets:
            secrets.flat_fee()

    def static_secret_in_scope(self):
        with (
            made(Signing, Memory({"SUCCESS_URL_SIGNING_KEY": "canary"})) as secrets,
            request_scope(),
        ):
            secrets.signing_key()

    def blocking_read(self):
        async def read(secrets):
            secrets.api_key()

        with made(
            Payments, Memory({"CHANGENOW_API_KEY": "canary", "TP_FLAT_FEE": "1"})
        ) as secrets:
            asyncio.run(read(secrets))

    def changed_meanwhile(self):
        source = GoogleSecretManager("pgp-live", endpoint=self.manager.endpoint)
        try:
            administration = source.administration()
            (looked_at,) = administration.versions("CHANGENOW_API_KEY")
            self.manager.disable("CHANGENOW_API_KEY", 1)  # by somebody else
            administration.disable("CHANGENOW_API_KEY", looked_at)
        finally:
            source.close()

    def push_refused(self):
        SecretEvent.from_push({}, b"canary")

    # -- DeclarationError ------------------------------------------------------------------------

    def a_protected_name(self):
        class Bot(SecretContainer):
            wallet = DynamicSecret("HOST_WALLET_PRIVATE_KEY")

    def a_value_that_is_captured(self):
        class Split2(SecretContainer):
            api_key = DynamicSecret("CHANGENOW_API_KEY")
            client = providers.Singleton(dict, key=api_key.provided.get_secret_value.call())

    def declared_twice(self):
        class Split2(SecretContainer):
            one = DynamicSecret("CHANGENOW_API_KEY")
            two = StaticSecret("CHANGENOW_API_KEY")

    def not_on_the_list(self):
        class Split2(SecretContainer):
            reload_policy = ReloadPolicy(allowed={"CHANGENOW_API_KEY": "dynamic"})
            api_key = DynamicSecret("CHANGENOW_APIKEY")

    def no_instance(self):
        Payments.api_key()

    def no_source(self):
        with made(Payments, None) as secrets:
            secrets.api_key()

    def an_unknown_source(self):
        source_from_url("consul:secret")

    def a_wrong_duration(self):
        Freshness(max_age=60, max_stale=30)

    def a_wrong_pin(self):
        Signing(source=Memory(), pinned={"CHANGENOW_API_KEY": 3})

    def an_unknown_name_in_a_scope(self):
        with request_scope(values={"CHANGENOW_APIKEY": "canary"}):
            pass

    def a_scope_entered_twice(self):
        scope = request_scope()
        with scope, scope:
            pass

    def installed_twice(self):
        from flask import Flask

        from pgp_config_flask import install

        app = Flask("payments")
        with made(
            Payments, Memory({"CHANGENOW_API_KEY": "canary", "TP_FLAT_FEE": "1"})
        ) as secrets:
            install(app, secrets)
            install(app, secrets)
