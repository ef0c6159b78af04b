"""The source: one access a fetch, with this process's client."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, NoReturn, Protocol, TypedDict, TypeVar

from pgp_config.errors import DeclarationError, PgpConfigError, SecretUnavailable, SourceTimeout
from pgp_config.forking import gate, threads_are_greenlets
from pgp_config.sources.budget import ATTEMPT_TIMEOUT, TOTAL_TIMEOUT, checked_timeouts
from pgp_config.sources.google import arguments, faults
from pgp_config.sources.versions import check_version

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from google.auth.credentials import Credentials
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient

    from pgp_config.payload import Payload
    from pgp_config.sources.google.administration import AdminClient, GoogleAdministration
    from pgp_config.sources.google.arguments import Transport

T = TypeVar("T")

#: Clients that a fork brought along. They are neither used nor closed, nor ever freed: their destructors
#: wait for threads, or for locks of threads, that the child does not have.
_inherited: list[object] = []


class Client(Protocol):
    """What a transport offers."""

    def access(self, path: str, timeout: float) -> Payload:
        """One attempt to read the version of that resource name, in so many seconds."""
        ...

    def admin(self) -> AdminClient:
        """What makes changes."""
        ...

    def close(self) -> None:
        """End the connections."""
        ...


class ConnectOptions(TypedDict):
    """What the `connect()` of a transport takes."""

    location: str | None
    endpoint: str | None
    credentials: Credentials | None
    user_agent: str | None


Connection = Future[Client | PgpConfigError]


class GoogleSecretManager:
    """Secrets of one Google Cloud project; one access a fetch, and never a list.

    A process makes its client on the first fetch, and shares it among threads. A forked child makes its own.

    Args:
        project: The project's id or number.
        location: The location of regional secrets, such as `"europe-west1"`; None for global ones.
        endpoint: `"127.0.0.1:PORT"` of a local server such as `pgp-config emulator`: without encryption
            and without credentials, and so for this machine only.
        credentials: Google's credentials object; by default what Google's client finds by itself.
        transport: `"grpc"`, or `"rest"`: HTTP and JSON, and no import of grpc. `endpoint` is then that of a
            local server's REST side.
        user_agent: Who asks, such as the service's name; Google's audit log notes it
            (`callerSuppliedUserAgent`), and the calls of the local Secret Manager (`Call.caller`).
        attempt_timeout: Seconds (or timedelta) for one attempt, more than 0.
        total_timeout: Seconds (or timedelta) for all attempts of a fetch, `attempt_timeout` or more. The
            last attempt gets what is left. The very first fetch of a process takes longer: it
            imports Google's libraries and finds the credentials.
        client_factory: Makes Google's client, once a process, in place of `endpoint`, `credentials`
            and `transport`: for a proxy or a private endpoint.

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
        transport: Transport = "grpc",
        user_agent: str | None = None,
        attempt_timeout: float | timedelta = ATTEMPT_TIMEOUT,
        total_timeout: float | timedelta = TOTAL_TIMEOUT,
        client_factory: Callable[[], SecretManagerServiceClient] | None = None,
    ) -> None:
        self._project = arguments.checked_project(project)
        self._location = arguments.checked_location(location)
        self._endpoint = arguments.checked_endpoint(endpoint)
        self._credentials = credentials
        self._transport = arguments.checked_transport(
            transport, has_factory=client_factory is not None
        )
        self._user_agent = arguments.checked_user_agent(
            user_agent, has_factory=client_factory is not None
        )
        self._attempt, self._total = checked_timeouts(attempt_timeout, total_timeout)
        self._factory = client_factory
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
        shown += ["transport='rest'"] if self._transport == "rest" else []
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

    def owns(self, project: str, location: str | None) -> bool:
        """Whether a secret of that project and location can be one of this source.

        A project has an id and a number. Secret Manager's events may name either, and nothing here tells
        which belong together: where one is a number and the other is not, the answer is yes.

        Args:
            project: The project's id or number.
            location: Such as "europe-west1", or None for a global secret.
        """
        if location != self._location:
            return False
        return project == self._project or project.isdecimal() != self._project.isdecimal()

    def close(self) -> None:
        """End the client's connection; a fetch after it connects anew."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.add_done_callback(_disconnect)

    def prepare_fork(self) -> None:
        """Under gevent end the connection, and with it a thread of gRPC that no child could do without."""
        if not threads_are_greenlets() or self._connection is None:
            return
        self.close()
        if self._transport == "grpc":
            from pgp_config.sources.google import over_grpc  # noqa: PLC0415  see the package's docstring

            over_grpc.await_gevents_threads()

    def renew_after_fork(self) -> None:
        """In a child: leave the parent's client alone, and make a new one on the next fetch."""
        self._lock = threading.Lock()
        if self._connection is not None:
            _inherited.append(self._connection)
            self._connection = None

    def administration(self) -> GoogleAdministration:
        """What changes its secrets; see `pgp_config.sources.administration`."""
        from pgp_config.sources.google.administration import (  # noqa: PLC0415  few need it
            GoogleAdministration,
        )

        return GoogleAdministration(self)

    # -- one call ----------------------------------------------------------------------------

    def path_of(self, name: str) -> str:
        """A secret's resource name.

        Raises:
            SecretNotFound: If Secret Manager can have none of that name.
        """
        return f"{self.parent}/secrets/{arguments.checked_name(name)}"

    @property
    def parent(self) -> str:
        """The resource name of what holds its secrets: the project, or a location of it."""
        where = f"/locations/{self._location}" if self._location else ""
        return f"projects/{self._project}{where}"

    @property
    def project(self) -> str:
        """The project's id or number."""
        return self._project

    @property
    def user_agent(self) -> str | None:
        """Who asks, such as the service's name."""
        return self._user_agent

    @property
    def endpoint(self) -> str | None:
        """The local server that it asks in place of Google's, if it does."""
        return self._endpoint

    @property
    def where(self) -> str:
        """The project and the location, in words."""
        location = f", location {self._location}" if self._location else ""
        return f"project {self._project}{location}"

    def _path_of(self, name: str, version: int | str) -> str:
        return f"{self.path_of(name)}/versions/{version}"

    def _ask(self, path: str, version: int | str) -> Payload | PgpConfigError:
        """The answer or the fault; nothing is raised while a frame holds an answer."""
        return self.perform(
            lambda client, timeout: client.access(path, timeout),
            lambda fault: self._explained(fault, version),
            each=self._attempt,
            total=self._total,
            may_pass=faults.may_pass,
        )

    def perform(
        self,
        attempt: Callable[[Client, float], T],
        explain: Callable[[Exception], PgpConfigError],
        *,
        each: float,
        total: float,
        may_pass: Callable[[BaseException], bool],
    ) -> T | PgpConfigError:
        """Ask, again while that may help and time is left: the answer or the fault.

        Args:
            attempt: Takes this process's client, and the seconds that it may last.
            explain: Makes an error of ours of what it raises.
            each: Seconds for one attempt.
            total: Seconds for all of them.
            may_pass: Whether the same attempt may succeed after this fault.
        """
        client = self._client()
        if isinstance(client, PgpConfigError):
            return client
        from pgp_config.sources import retries  # noqa: PLC0415  see the package's docstring

        try:
            return retries.within(
                total, lambda timeout: attempt(client, timeout), each=each, may_pass=may_pass
            )
        except Exception as fault:  # noqa: BLE001  whatever Google's libraries raise becomes ours
            return explain(fault)

    def _explained(self, fault: Exception, version: int | str) -> PgpConfigError:
        return faults.explained(
            fault, where=self.where, version=version, total=self._total, endpoint=self.endpoint
        )

    # -- the client of this process ----------------------------------------------------------

    def _client(self) -> Client | PgpConfigError:
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
                remedy=faults.SIGN_IN,
            )

    def _connect(self, connection: Connection) -> Client | PgpConfigError:
        outcome: Client | PgpConfigError = SecretUnavailable(
            "Google's client was interrupted while it was made", remedy="Ask again."
        )
        try:
            outcome = self._made()
        finally:
            if isinstance(outcome, PgpConfigError):
                self._forget(connection)
            connection.set_result(outcome)
        return outcome

    def _made(self) -> Client | PgpConfigError:
        try:
            return self._make_client()
        except PgpConfigError as fault:
            return fault.located()
        except ImportError as fault:
            error: PgpConfigError = DeclarationError(
                f"Google's libraries cannot be imported ({fault.name or 'no module named'})",
                remedy=f"Install them: pip install 'pgp-config[{self._extra()}]'.",
            )
            error.__cause__ = faults.bare(fault)
            return error
        except Warning as warning:
            return DeclarationError(
                f"Google's libraries give a {type(warning).__name__} when they are imported, and warnings "
                "are errors here",
                remedy="Let it pass: with pytest, filterwarnings = ['ignore::FutureWarning:google'].",
            )
        except Exception as fault:  # noqa: BLE001  whatever Google's libraries raise becomes ours
            return self._explained(fault, "latest")

    def _make_client(self) -> Client:
        # Not left to the first access: a missing library is to be told as such.
        from pgp_config.sources import retries  # noqa: F401, PLC0415  see the package's docstring

        if self._transport == "rest":
            from pgp_config.sources.google import over_rest  # noqa: PLC0415  as above

            return over_rest.connect(**self._options())
        from pgp_config.sources.google import over_grpc  # noqa: PLC0415  as above

        if self._factory is not None:
            return over_grpc.GrpcClient(self._factory())
        return over_grpc.connect(**self._options())

    def _options(self) -> ConnectOptions:
        return {
            "location": self._location,
            "endpoint": self._endpoint,
            "credentials": self._credentials,
            "user_agent": self._user_agent,
        }

    def _extra(self) -> str:
        return "google-rest" if self._transport == "rest" else "google"

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            if self._connection is connection:
                self._connection = None


def _disconnect(connection: Connection) -> None:
    client = connection.result()
    if not isinstance(client, PgpConfigError):
        client.close()
