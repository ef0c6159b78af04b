"""What services of the fleet have in common: the three settings of all, and the parts that many have."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from dependency_injector import providers

from pgp_config import SecretContainer, default_observers, source_from_url
from pgp_config.redaction import install_redaction
from pgp_services import catalogue, telemetry
from pgp_services.alerting import alerts_from
from pgp_services.clients.changenow import ChangeNowClient
from pgp_services.clients.cloud_tasks import TasksClient
from pgp_services.clients.telegram import TelegramClient
from pgp_services.database import Database
from pgp_services.provided import Constant
from pgp_services.settings import SOURCE_VARIABLE, Settings, required

if TYPE_CHECKING:
    from pgp_config.redaction import Redaction
    from pgp_services.catalogue import LogLevel, ServiceEnvironment
    from pgp_services.provided import Provided
    from pgp_services.serving.responder import Alerts

#: The logger above those of all services.
logger = logging.getLogger("pgp_services")

#: The loggers whose level LOG_LEVEL sets: ours, and the one that tells of reloads. Not the root
#: logger: at INFO httpx tells the URL of every request.
_LOGGERS = (logger, logging.getLogger("pgp_config"))


#: How a line of the log is made; alerts look for what follows the time.
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

#: Where stamina tells each retry, as a warning.
_retries = logging.getLogger("stamina")


@functools.cache
def redact_once() -> Redaction:
    """Scrub known values from what every library logs, warns of and raises, for the life of the process."""
    return install_redaction()


def log_to_stderr() -> None:
    """Log as Cloud Run wants it, a line on stderr without a secret value; no handler, if logging is configured already.

    A service says itself what it asks again for (`pgp_services.clients`): stamina's own line for each retry is left
    out, unless a level is set for it.
    """
    logging.basicConfig(format=LOG_FORMAT)
    redact_once()
    if _retries.level == logging.NOTSET:
        _retries.setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a request is reported, by the settings that it sees.

    Attributes:
        environment: Where the service runs; named in each line.
        log_level: From which level on `pgp_services` and `pgp_config` log.
        alerting: Whether a failure that is not the caller's is an ERROR, which Cloud Logging's
            alerts count, or a WARNING.
    """

    environment: str
    log_level: LogLevel
    alerting: bool

    def applied(self) -> Self:
        """The same, once our loggers log from `log_level` on."""
        for ours in _LOGGERS:
            # Setting a level empties the logging module's caches: only when it changed.
            if logging.getLevelName(ours.level) != self.log_level:
                ours.setLevel(self.log_level)
        return self

    def report(
        self,
        service: str,
        status: int,
        what: str,
        *,
        of_a_task: bool = False,
        alarming: bool = False,
    ) -> str | None:
        """Log how a request ended.

        Args:
            service: The service's name.
            status: The HTTP status of the answer.
            what: What happened; without a trace of a secret or a token.
            of_a_task: Whether Cloud Tasks called. A caller's fault is ours then, of the service that made the task:
                it is delivered again and again, will never succeed, and what it was to do is lost.
            alarming: Whether somebody is to be told whatever the status is.

        Returns:
            The text of the alert that it is worth; None for none.
        """
        level = logging.INFO
        bad = 400 if of_a_task else 500  # HTTP: below 500 the fault is the caller's
        if alarming or status >= bad:
            level = logging.ERROR if self.alerting else logging.WARNING
        logger.log(level, "%s (%s) answered %d: %s", service, self.environment, status, what)
        return f"{service} ({self.environment}): {what}" if level == logging.ERROR else None


#: How a request is reported whose settings could not be read: nothing is hushed up.
UNKNOWN_CONDUCT = Conduct("unknown", "INFO", alerting=True)


@dataclass(frozen=True, slots=True)
class Operations:
    """The common settings, as secrets.

    Attributes:
        environment: Gives SERVICE_ENVIRONMENT.
        log_level: Gives LOG_LEVEL.
        alerting: Gives ALERTING_ENABLED.
    """

    environment: Provided[ServiceEnvironment]
    log_level: Provided[LogLevel]
    alerting: Provided[bool]

    def conduct(self) -> Conduct:
        """The settings that the current request sees."""
        return Conduct(self.environment(), self.log_level(), self.alerting())

    async def conduct_async(self) -> Conduct:
        """As `conduct`, from a coroutine."""
        return Conduct(
            await self.environment.async_(),
            await self.log_level.async_(),
            await self.alerting.async_(),
        )


class Fleet(SecretContainer):
    """The container that every service's own derives from.

    A service sets `reload_policy = policy_of(Service.…)`, so that what it may not read cannot be declared.
    """

    reload_policy = catalogue.WHOLE_POLICY

    service_environment = catalogue.SERVICE_ENVIRONMENT.secret()
    log_level = catalogue.LOG_LEVEL.secret()
    alerting_enabled = catalogue.ALERTING_ENABLED.secret()

    operations = providers.Singleton(Operations, service_environment, log_level, alerting_enabled)
    settings = providers.Singleton(Settings.from_environ)
    alerts: providers.Provider[Alerts | None] = providers.Singleton(
        alerts_from, settings.provided.alerts_source
    )

    @classmethod
    def deployed(cls, service: str | None = None) -> Self:
        """The container of a deployed service, by its environment variables; logs go to stderr.

        Args:
            service: Its name, under which it is measured; that of the class by default.

        Raises:
            DeclarationError: If PGP_CONFIG_SOURCE is not set or names no source.
        """
        log_to_stderr()
        observers = [*default_observers, *telemetry.observers(service or cls.__name__)]
        return cls(source=source_from_url(required(SOURCE_VARIABLE)), observers=observers)


class WithDatabase(Fleet):
    """A service that has the database: what its connection pool is made from."""

    database_password_secret = catalogue.DATABASE_PASSWORD_SECRET.secret()
    cloud_sql_connection_name = catalogue.CLOUD_SQL_CONNECTION_NAME.secret()
    database_name_secret = catalogue.DATABASE_NAME_SECRET.secret()
    database_user_secret = catalogue.DATABASE_USER_SECRET.secret()

    database = providers.Singleton(
        Database,
        instance=cloud_sql_connection_name,
        name=database_name_secret,
        user=database_user_secret,
        password=database_password_secret,
    )


class WithChangeNow(Fleet):
    """A service that asks ChangeNow."""

    changenow_api_key = catalogue.CHANGENOW_API_KEY.secret()

    changenow = providers.Singleton(
        ChangeNowClient,
        api_key=changenow_api_key,
        base_url=Fleet.settings.provided.changenow_base_url,
    )


class WithTelegram(Fleet):
    """A service that writes as the bot."""

    telegram_bot_api_token = catalogue.TELEGRAM_BOT_API_TOKEN.secret()

    telegram = providers.Singleton(
        TelegramClient,
        token=telegram_bot_api_token,
        base_url=Fleet.settings.provided.telegram_base_url,
    )


class WithTasks(Fleet):
    """A service that creates tasks, in the project and the region that its secrets name."""

    cloud_tasks_project_id = catalogue.CLOUD_TASKS_PROJECT_ID.secret()
    cloud_tasks_location = catalogue.CLOUD_TASKS_LOCATION.secret()

    tasks = providers.Singleton(
        TasksClient,
        project=cloud_tasks_project_id,
        location=cloud_tasks_location,
        service_account=Fleet.settings.provided.tasks_service_account,
        endpoint=Fleet.settings.provided.cloud_tasks_endpoint,
    )


class WithTasksOfSettings(Fleet):
    """A service that creates tasks, and has no secret for where: the settings say it."""

    tasks = providers.Singleton(
        TasksClient,
        project=providers.Singleton(Constant, Fleet.settings.provided.tasks_project),
        location=providers.Singleton(Constant, Fleet.settings.provided.tasks_region),
        service_account=Fleet.settings.provided.tasks_service_account,
        endpoint=Fleet.settings.provided.cloud_tasks_endpoint,
    )
