"""What PGP_SPLIT2_v1 reads, and what it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dependency_injector import providers

from pgp_config import source_from_url
from pgp_services import catalogue
from pgp_services.clients.changenow import ChangeNowClient
from pgp_services.clients.cloud_tasks import Target, TasksClient
from pgp_services.database import Database
from pgp_services.fleet import Fleet, log_to_stderr
from pgp_services.settings import SOURCE_VARIABLE, Settings, required
from pgp_services.split2.handler import Split2Handler

if TYPE_CHECKING:
    from typing import Self


class Split2(Fleet):
    """The secrets of PGP_SPLIT2_v1, each by the name that the catalogue gives it, and its parts.

    `database` and `batchprocessor` are what the fleet's table gives SPLIT2 beside its own route: the
    handler calls neither, because no document says for what.
    """

    success_url_signing_key = catalogue.SUCCESS_URL_SIGNING_KEY.secret()

    database_password_secret = catalogue.DATABASE_PASSWORD_SECRET.secret()
    cloud_sql_connection_name = catalogue.CLOUD_SQL_CONNECTION_NAME.secret()
    database_name_secret = catalogue.DATABASE_NAME_SECRET.secret()
    database_user_secret = catalogue.DATABASE_USER_SECRET.secret()

    cloud_tasks_project_id = catalogue.CLOUD_TASKS_PROJECT_ID.secret()
    cloud_tasks_location = catalogue.CLOUD_TASKS_LOCATION.secret()

    changenow_api_key = catalogue.CHANGENOW_API_KEY.secret()
    pgp_split1_response_queue = catalogue.PGP_SPLIT1_RESPONSE_QUEUE.secret()
    pgp_split1_url = catalogue.PGP_SPLIT1_URL.secret()
    pgp_batchprocessor_queue = catalogue.PGP_BATCHPROCESSOR_QUEUE.secret()
    pgp_batchprocessor_url = catalogue.PGP_BATCHPROCESSOR_URL.secret()

    settings = providers.Singleton(Settings.from_environ)

    database = providers.Singleton(
        Database,
        instance=cloud_sql_connection_name,
        name=database_name_secret,
        user=database_user_secret,
        password=database_password_secret,
    )
    split1 = providers.Singleton(Target, pgp_split1_response_queue, pgp_split1_url)
    batchprocessor = providers.Singleton(Target, pgp_batchprocessor_queue, pgp_batchprocessor_url)
    changenow = providers.Singleton(
        ChangeNowClient,
        api_key=changenow_api_key,
        base_url=settings.provided.changenow_base_url,
    )
    tasks = providers.Singleton(
        TasksClient,
        project=cloud_tasks_project_id,
        location=cloud_tasks_location,
        service_account=settings.provided.tasks_service_account,
        endpoint=settings.provided.cloud_tasks_endpoint,
    )
    handler = providers.Singleton(
        Split2Handler,
        signing_key=success_url_signing_key,
        operations=Fleet.operations,
        changenow=changenow,
        tasks=tasks,
        split1=split1,
    )

    @classmethod
    def deployed(cls) -> Self:
        """The container of a deployed service, by its environment variables; logs go to stderr.

        Raises:
            DeclarationError: If PGP_CONFIG_SOURCE is not set or names no source.
        """
        log_to_stderr()
        return cls(source=source_from_url(required(SOURCE_VARIABLE)))
