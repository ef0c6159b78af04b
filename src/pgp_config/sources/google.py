"""Google Secret Manager, through Google's own client, with a deadline, a retry and errors of ours.

Google's libraries are imported by the first fetch: they take a quarter of a second and 56 MiB, which a
service that reads its secrets from elsewhere should not pay.
"""

from __future__ import annotations

import functools
import importlib
import ipaddress
import logging
import os
import re
import sys
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NoReturn

from pgp_config.errors import (
    DeclarationError,
    PgpConfigError,
    SecretDisabled,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
    SourceTimeout,
)
from pgp_config.forking import gate, threads_are_greenlets
from pgp_config.policy import seconds
from pgp_config.secret import Payload
from pgp_config.sources.versions import check_version

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from google.auth.credentials import Credentials
    from google.cloud.secretmanager_v1 import (
        AccessSecretVersionResponse,
        SecretManagerServiceClient,
    )

#: Seconds that one attempt, and all attempts of a fetch, may take.
ATTEMPT_TIMEOUT, TOTAL_TIMEOUT = 1.0, 2.0

#: Seconds below which an attempt is not worth its start.
LEAST_ATTEMPT = 0.05

#: Seconds of the pause before a retry, each a random share of: at first, doubled up to.
SHORTEST_BACKOFF, LONGEST_BACKOFF = 0.2, 1.0

#: Seconds for which a fork under gevent waits at most for the threads of its pool.
SETTLING = 2.0

#: Statuses after which the same request may succeed (design: promise 8).
_TRANSIENT = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED"})

#: gRPC's statuses of HTTP's, where Google's client raises over REST an exception that has none.
_STATUS_OF_HTTP = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    429: "RESOURCE_EXHAUSTED",
    504: "DEADLINE_EXCEEDED",
}

#: After an outage gRPC would otherwise wait up to 120 s before it connects again, and an attempt to
#: connect takes up to 20 s (milliseconds; grpc/grpc: include/grpc/impl/channel_arg_names.h).
_CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.min_reconnect_backoff_ms", 5000),
)

_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[A-Za-z0-9_-]+")
_LOCATION = re.compile(r"[a-z0-9-]+")
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,255}")

#: What gRPC says when Google's credentials fail to make a token, and what they say when it is for good.
_TOKEN_FAILED = "Getting metadata from plugin failed"  # noqa: S105  no password
_TOKEN_REFUSED = re.compile(
    r"invalid_grant|invalid_client|invalid_rapt|unauthorized_client|[Rr]eauth|expired|revoked"
)

_SIGN_IN = (
    "Run `gcloud auth application-default login`, or give the service an account of its own: on "
    "Google Cloud its service account, elsewhere GOOGLE_APPLICATION_CREDENTIALS."
)

_GRANT = (
    "Grant roles/secretmanager.secretAccessor on that secret to the service account; or enable the "
    "Secret Manager API, if the cause says SERVICE_DISABLED."
)

#: Clients that a fork brought along. They are neither used nor closed, nor ever freed: their channel's
#: destructor waits for threads that the child does not have.
_inherited: list[object] = []

Connection = Future["SecretManagerServiceClient | PgpConfigError"]


class GoogleSecretManager:
    """Secrets of one Google Cloud project; one access a fetch, and never a list.

    A process makes its client on the first fetch, and shares it among threads. A forked child makes its own.

    Args:
        project: The project's id or number.
        location: The location of regional secrets, such as `"europe-west1"`; None for global ones.
        endpoint: `"127.0.0.1:PORT"` of a local server such as `pgp-config emulator`: without encryption
            and without credentials, and so for this machine only.
        credentials: Google's credentials object; by default what Google's client finds by itself.
        attempt_timeout: Seconds (or timedelta) for one attempt, more than 0.
        total_timeout: Seconds (or timedelta) for all attempts of a fetch, `attempt_timeout` or more. The
            last attempt gets what is left. The very first fetch of a process takes longer: it
            imports Google's libraries and finds the credentials.
        client_factory: Makes Google's client, once a process, in place of `endpoint` and
            `credentials`: for a proxy or a private endpoint.

    Raises:
        DeclarationError: If an argument cannot be meant so.
    """

    def __init__(
        self,
        project: str,
        *,
        location: str | None = None,
        endpoint: str | None = None,
        credentials: Credentials | None = None,
        attempt_timeout: float | timedelta = ATTEMPT_TIMEOUT,
        total_timeout: float | timedelta = TOTAL_TIMEOUT,
        client_factory: Callable[[], SecretManagerServiceClient] | None = None,
    ) -> None:
        self._project = _checked_project(project)
        self._location = _checked_location(location)
        self._endpoint = _checked_endpoint(endpoint)
        self._credentials = credentials
        self._attempt, self._total = _checked_timeouts(attempt_timeout, total_timeout)
        self._make_client = client_factory or self._default_client
        if sum(given is not None for given in (client_factory, endpoint, credentials)) > 1:
            raise DeclarationError(
                "GoogleSecretManager was given two of client_factory, endpoint and credentials",
                remedy="Give one: a local server takes no credentials, a factory sees to both itself.",
            )
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        gate.register(self)

    def __repr__(self) -> str:
        shown = [repr(self._project)]
        shown += [f"location={self._location!r}"] if self._location else []
        shown += [f"endpoint={self._endpoint!r}"] if self._endpoint else []
        return f"GoogleSecretManager({', '.join(shown)})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A source is not pickled or copied: its credentials would go along.")

    def fetch(self, name: str, version: int | str = "latest") -> Payload:
        """As `Source.fetch`.

        Raises:
            SecretNotFound: If there is no such secret or version, or it cannot have that name.
            SecretForbidden: If the identity may not read it, or there are no valid credentials: that is
                no outage, and waiting does not help.
            SecretDisabled: If the version is disabled or destroyed.
            SourceTimeout: If there was no answer within `total_timeout`.
            SecretUnavailable: If Google cannot be reached, or refuses for any other reason.
            DeclarationError: If the version is neither a number nor `"latest"`, if Google's libraries
                are not installed, or if grpcio hangs in this release or process.
        """
        check_version(version)
        path = self._path_of(name, version)
        outcome = self._ask(path, version)
        if isinstance(outcome, PgpConfigError):
            # Raised here, where no frame holds an answer and no exception of Google's is in flight.
            raise outcome.located(secret=name)
        return outcome

    def connect(self) -> None:
        """Make this process's client now, outside of any fetch's budget: `load()` does so.

        Raises:
            SecretForbidden: If there are no valid credentials.
            DeclarationError: As `fetch`.
        """
        client = self._client()
        if isinstance(client, PgpConfigError):
            raise client

    def close(self) -> None:
        """End the client's connection; a fetch after it connects anew."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.add_done_callback(_disconnect)

    def prepare_fork(self) -> None:
        """Under gevent end the connection, and with it a thread of gRPC that no child could do without."""
        if threads_are_greenlets() and self._connection is not None:
            self.close()
            _await_gevents_threads()

    def renew_after_fork(self) -> None:
        """In a child: leave the parent's client alone, and make a new one on the next fetch."""
        self._lock = threading.Lock()
        if self._connection is not None:
            _inherited.append(self._connection)
            self._connection = None

    # -- one fetch ---------------------------------------------------------------------------

    def _path_of(self, name: str, version: int | str) -> str:
        if not isinstance(name, str) or _SECRET.fullmatch(name) is None:
            raise SecretNotFound(
                f"a secret of Secret Manager cannot be named {name!r}",
                remedy="Use letters, digits, '_' and '-', 255 at most.",
            )
        where = f"/locations/{self._location}" if self._location else ""
        return f"projects/{self._project}{where}/secrets/{name}/versions/{version}"

    def _ask(self, path: str, version: int | str) -> Payload | PgpConfigError:
        """The answer or the fault; nothing is raised while a frame holds an answer."""
        client = self._client()
        if isinstance(client, PgpConfigError):
            return client
        try:
            return _payload_of(self._call(client, path))
        except Exception as fault:  # noqa: BLE001  whatever Google's client raises becomes ours
            return self._explained(fault, version)

    def _call(self, client: SecretManagerServiceClient, path: str) -> AccessSecretVersionResponse:
        """Access a version, again while that may help and time is left."""
        from google.api_core.retry import Retry  # noqa: PLC0415  see the module's docstring

        deadline = time.monotonic() + self._total

        def attempt() -> AccessSecretVersionResponse:
            left = max(deadline - time.monotonic(), LEAST_ATTEMPT)
            # Google's own retry would block for 52 s.
            return client.access_secret_version(
                request={"name": path}, retry=None, timeout=min(self._attempt, left)
            )

        retry = Retry(
            predicate=lambda fault: _status_of(fault) in _TRANSIENT,
            initial=SHORTEST_BACKOFF,
            maximum=LONGEST_BACKOFF,
            multiplier=2.0,
            timeout=max(self._total - LEAST_ATTEMPT, 0.0),
        )
        return retry(attempt)()

    # -- the client of this process ----------------------------------------------------------

    def _client(self) -> SecretManagerServiceClient | PgpConfigError:
        """This process's client; whoever comes while it is being made waits for the outcome."""
        with self._lock:
            connection = self._connection
            if connection is None:
                mine = self._connection = Future()
        if connection is None:
            return self._connect(mine)
        try:
            return connection.result(self._total)
        except TimeoutError:
            return SourceTimeout(
                f"Google's client was still looking for credentials after {self._total:g} s",
                remedy=_SIGN_IN,
            )

    def _connect(self, connection: Connection) -> SecretManagerServiceClient | PgpConfigError:
        outcome: SecretManagerServiceClient | PgpConfigError = SecretUnavailable(
            "Google's client was interrupted while it was made", remedy="Ask again."
        )
        try:
            outcome = self._made()
        finally:
            if isinstance(outcome, PgpConfigError):
                self._forget(connection)
            connection.set_result(outcome)
        return outcome

    def _made(self) -> SecretManagerServiceClient | PgpConfigError:
        try:
            return self._make_client()
        except PgpConfigError as fault:
            return fault.located()
        except ImportError as fault:
            error: PgpConfigError = DeclarationError(
                f"Google's libraries cannot be imported ({fault.name or 'no module named'})",
                remedy="Install them: pip install 'pgp-config[google]'.",
            )
            error.__cause__ = _bare(fault)
            return error
        except Exception as fault:  # noqa: BLE001  whatever Google's client raises becomes ours
            return self._explained(fault, "latest")

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            if self._connection is connection:
                self._connection = None

    def _default_client(self) -> SecretManagerServiceClient:
        grpc = _prepared_grpc()
        from google.cloud.secretmanager_v1 import (  # noqa: PLC0415  see the module's docstring
            SecretManagerServiceClient,
        )
        from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (  # noqa: PLC0415  as above
            SecretManagerServiceGrpcTransport as Transport,
        )

        if self._endpoint is not None:
            return SecretManagerServiceClient(
                transport=Transport(channel=_local_channel(grpc, self._endpoint))
            )
        return SecretManagerServiceClient(
            credentials=self._credentials,
            client_options=self._client_options(),
            transport=functools.partial(
                Transport, channel=functools.partial(_channel, Transport.create_channel)
            ),
        )

    def _client_options(self) -> dict[str, str]:
        if self._location is None:
            return {}
        return {"api_endpoint": f"secretmanager.{self._location}.rep.googleapis.com"}

    # -- faults ------------------------------------------------------------------------------

    def _explained(self, fault: Exception, version: int | str) -> PgpConfigError:
        """An error of ours for one of Google's, with that as its cause."""
        fault = getattr(fault, "cause", None) or fault  # of a RetryError: the last attempt's
        error = _of_credentials(fault) or self._of_status(_status_of(fault), version)
        error.__cause__ = _bare(fault)
        return error

    def _of_status(self, status: str, version: int | str) -> PgpConfigError:
        where = f"project {self._project}"
        where += f", location {self._location}" if self._location else ""
        known = _FAULTS.get(status)
        if known is None:
            return SecretUnavailable(
                f"Secret Manager could not answer for {where} ({status})",
                remedy="Look at status.cloud.google.com and at the network on the way there.",
            )
        kind, happened, remedy = known
        words = {"where": where, "version": version, "total": self._total}
        return kind(happened.format_map(words), remedy=remedy.format_map(words))


#: By gRPC's status: our error, what happened, what to do.
_FAULTS: dict[str, tuple[type[PgpConfigError], str, str]] = {
    "NOT_FOUND": (
        SecretNotFound,
        "does not exist in {where}, or has no version {version}",
        "Create it or add the version; or correct the project, the location or the name.",
    ),
    "PERMISSION_DENIED": (
        SecretForbidden,
        "this identity may not read it in {where} (or it may not exist)",
        _GRANT,
    ),
    "UNAUTHENTICATED": (
        SecretForbidden,
        "Google does not accept the credentials: they are missing, expired or revoked",
        _SIGN_IN,
    ),
    "FAILED_PRECONDITION": (
        SecretDisabled,
        "version {version} is disabled or destroyed in {where}",
        "Enable that version, or add a new one.",
    ),
    "INVALID_ARGUMENT": (
        SecretUnavailable,
        "Secret Manager calls the request invalid ({where}, version {version})",
        "Correct the project, the location or the secret's name.",
    ),
    "DEADLINE_EXCEEDED": (
        SourceTimeout,
        "Secret Manager did not answer within {total:g} s ({where})",
        "Look at status.cloud.google.com and at the network on the way there.",
    ),
    "RESOURCE_EXHAUSTED": (
        SecretUnavailable,
        "the quota of Secret Manager is exhausted in {where}",
        "Raise max_age, or ask Google for more than the 90,000 accesses a minute and project.",
    ),
}


def _of_credentials(fault: Exception) -> PgpConfigError | None:
    """The error for credentials that are missing, refused or cannot be checked; None for all else."""
    from google.auth import exceptions  # noqa: PLC0415  see the module's docstring

    if isinstance(fault, exceptions.DefaultCredentialsError):
        return SecretForbidden("no Google credentials were found", remedy=_SIGN_IN)
    is_refusal = isinstance(fault, exceptions.RefreshError) and not fault.retryable
    is_failure = isinstance(fault, exceptions.RefreshError | exceptions.TransportError)
    if _TOKEN_FAILED in str(fault):
        is_failure, is_refusal = True, _TOKEN_REFUSED.search(str(fault)) is not None
    if is_refusal:
        return SecretForbidden(
            "Google refused the credentials: they are expired, revoked or deleted", remedy=_SIGN_IN
        )
    if is_failure:
        return SecretUnavailable(
            "Google's token server could not be reached to refresh the credentials",
            remedy="Look at status.cloud.google.com and at the network on the way there.",
        )
    return None


def _status_of(fault: BaseException) -> str:
    """The name of gRPC's status, or of the exception where it has none."""
    status = getattr(fault, "grpc_status_code", None)
    if status is not None:
        return str(status.name)
    code = getattr(fault, "code", None)
    if code == 400 and re.search("DISABLED|DESTROYED", str(fault)):  # noqa: PLR2004  HTTP's number
        return "FAILED_PRECONDITION"
    return _STATUS_OF_HTTP.get(code or 0, type(fault).__name__)


def _bare(fault: BaseException) -> BaseException:
    """A cause that may be logged: its kind and text. Its frames and its response can hold a token."""
    message = getattr(fault, "message", None)
    if getattr(fault, "response", None) is not None and isinstance(message, str):
        fault = type(fault)(message)
    fault.__cause__ = fault.__context__ = None
    return fault.with_traceback(None)


def _payload_of(response: AccessSecretVersionResponse) -> Payload:
    # `repr(response)` prints the payload: nothing here may raise or log it.
    payload = response.payload
    checksum = payload.data_crc32c if "data_crc32c" in payload else None
    return Payload(payload.data, int(response.name.rpartition("/")[2]), checksum)


# -- Google's libraries --------------------------------------------------------------------------


#: The process that used gRPC first, under "pid"; a forked child inherits the parent's.
_first_user: dict[str, int] = {}

#: How gRPC is told that nobody forks.
_NO_FORKS = frozenset({"0", "f", "false", "n", "no"})


def _prepared_grpc() -> Any:  # noqa: ANN401  grpc is untyped
    """Refuse what hangs, have gRPC wait in gevent's way, and keep payloads out of logs."""
    _refuse_fork_without_support()
    import grpc  # type: ignore[import-untyped]  # noqa: PLC0415  see the module's docstring

    if grpc.__version__ == "1.78.1":
        raise DeclarationError(
            "grpcio 1.78.1 is installed, which hangs in a forked process",
            remedy="Install another release: pip install 'grpcio!=1.78.1'.",
        )
    monkey: Any = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("socket"):
        from grpc.experimental.gevent import (  # type: ignore[import-untyped]  # noqa: PLC0415  as above
            init_gevent,
        )

        init_gevent()  # a second call does nothing
    for transport in ("grpc", "rest"):
        logging.getLogger(f"{_TRANSPORTS}.{transport}").addFilter(_withhold_answers)
    return grpc


def _await_gevents_threads() -> None:
    """After gRPC's last channel: the thread that handed its work to greenlets lets go of its lock.

    A child that inherited the lock would hang in its first channel, and one that inherited the wait
    for work, when it exits.
    """
    gevent = importlib.import_module("gevent")
    with gevent.Timeout(SETTLING, False):
        gevent.get_hub().threadpool.join()


def _refuse_fork_without_support() -> None:
    is_home = _first_user.setdefault("pid", os.getpid()) == os.getpid()
    if not is_home and os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "").lower() in _NO_FORKS:
        raise DeclarationError(
            "GRPC_ENABLE_FORK_SUPPORT is off, and this process was forked after Secret Manager was used: "
            "gRPC hangs here",
            remedy="Unset the variable, or load secrets after the fork only.",
        )


_TRANSPORTS = "google.cloud.secretmanager_v1.services.secret_manager_service.transports"


def _withhold_answers(record: logging.LogRecord) -> bool:
    """At level DEBUG Google's client logs every answer, payload included."""
    for field in ("response", "httpResponse"):
        if hasattr(record, field):
            setattr(record, field, "withheld by pgp_config")
    return True


def _channel(create: Callable[..., Any], host: str, **options: Any) -> Any:  # noqa: ANN401  as above
    options["options"] = [*options.get("options", ()), *_CHANNEL_OPTIONS]
    return create(host, **options)


def _local_channel(grpc: Any, endpoint: str) -> Any:  # noqa: ANN401  as above
    # An http_proxy of the environment would otherwise be asked for a port of its own machine.
    no_proxy = ("grpc.enable_http_proxy", 0)
    return grpc.insecure_channel(endpoint, options=[*_CHANNEL_OPTIONS, no_proxy])


def _disconnect(connection: Connection) -> None:
    client = connection.result()
    if not isinstance(client, PgpConfigError):
        client.transport.close()  # type: ignore[no-untyped-call]  # Google's


# -- arguments -----------------------------------------------------------------------------------


def _checked_project(project: str) -> str:
    if isinstance(project, str) and _PROJECT.fullmatch(project):
        return project
    raise DeclarationError(
        f"the Google Cloud project is {project!r}",
        remedy="Give the project's id or number alone: GoogleSecretManager(project='pgp-live').",
    )


def _checked_location(location: str | None) -> str | None:
    if location is None or (isinstance(location, str) and _LOCATION.fullmatch(location)):
        return location
    raise DeclarationError(
        f"the location of the secrets is {location!r}",
        remedy="Give a location such as 'europe-west1', or None for global secrets.",
    )


def _checked_endpoint(endpoint: str | None) -> str | None:
    if endpoint is None or (isinstance(endpoint, str) and _is_loopback(endpoint)):
        return endpoint
    raise DeclarationError(
        f"the endpoint is {endpoint!r}, which is not on this machine",
        remedy="An endpoint is used without encryption: give '127.0.0.1:PORT'. For any other server "
        "give a client_factory.",
    )


def _is_loopback(endpoint: str) -> bool:
    host, _, port = endpoint.rpartition(":")
    if not (port.isascii() and port.isdigit()):
        return False
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _checked_timeouts(
    attempt_timeout: float | timedelta, total_timeout: float | timedelta
) -> tuple[float, float]:
    attempt = seconds(attempt_timeout, what="attempt_timeout")
    total = seconds(total_timeout, what="total_timeout")
    if 0 < attempt <= total:
        return attempt, total
    raise DeclarationError(
        f"attempt_timeout is {attempt:g} s and total_timeout {total:g} s",
        remedy="Give an attempt more than 0 s, and all attempts together no less than one.",
    )
