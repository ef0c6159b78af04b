"""The source: one read a fetch, with this process's connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from pgp_config import FetchBudget, PerProcess, PgpConfigError, check_version
from pgp_config_vault import arguments, faults, values
from pgp_config_vault.auth import Token
from pgp_config_vault.connection import Connection
from pgp_config_vault.sending import Sender

if TYPE_CHECKING:
    import os
    from datetime import timedelta

    from pgp_config import Payload
    from pgp_config_vault.auth import Auth


class Vault:
    """Secrets of one KV engine, version 2, of HashiCorp Vault or OpenBao; one read a fetch.

    A secret's name is its path below the mount and the prefix, and, after a `#`, the key of its JSON object that is
    the value: `"split2/changenow#api_key"`. A text is handed out as it is, anything else as JSON; `"#*"` stands for
    the whole object as JSON.

    A process signs in on its first use, and renews its token, or signs in again, in the fetch that comes when two
    thirds of the token's life are over. A forked child signs in itself, but with a `Token` uses the same one.

    Args:
        address: `"https://HOST:PORT"`; by default `VAULT_ADDR`. `http` for this machine only.
        mount: Where the KV engine is mounted.
        prefix: Put before each name, such as `"split2/"`.
        key: Which key is the value where a name has no `#`.
        auth: How to sign in: `Token`, `AppRole`, `Kubernetes`, or what has a `login()` like theirs. By default the
            token of `VAULT_TOKEN` or of `~/.vault-token`.
        namespace: By default `VAULT_NAMESPACE`.
        ca: The file of the CA that signs the server's certificate; by default `VAULT_CACERT`, else the CAs that
            requests trusts.
        plain_http: Let `http` go to another machine: whoever is between reads the token and the secrets.
        attempt_timeout: Seconds (or timedelta) for one attempt, more than 0.
        total_timeout: Seconds (or timedelta) for all attempts of a fetch, `attempt_timeout` or more.

    Raises:
        DeclarationError: If an argument cannot be meant so.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        mount: str = "secret",
        prefix: str = "",
        key: str = "value",
        auth: Auth | Token | None = None,
        namespace: str | None = None,
        ca: str | os.PathLike[str] | None = None,
        plain_http: bool = False,
        attempt_timeout: float | timedelta = 1.0,
        total_timeout: float | timedelta = 2.0,
    ) -> None:
        self._address = arguments.checked_address(address, plain_http=plain_http)
        self._mount = arguments.checked_mount(mount)
        self._prefix = prefix
        self._key = arguments.checked_key(key)
        self._namespace = arguments.checked_namespace(namespace)
        self._ca = arguments.checked_ca(ca)
        self._auth = auth or Token()
        self._budget = FetchBudget(attempt_timeout, total_timeout)
        self._connection = PerProcess(self._connect, Connection.close)

    def __repr__(self) -> str:
        shown = [repr(self._address.url), f"mount={self._mount!r}"]
        shown += [f"prefix={self._prefix!r}"] if self._prefix else []
        shown += [f"namespace={self._namespace!r}"] if self._namespace else []
        return f"Vault({', '.join(shown)})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A source is not pickled or copied: its credentials would go along.")

    def fetch(self, name: str, version: int | str = "latest") -> Payload:
        """As `pgp_config.Source.fetch`.

        Raises:
            SecretNotFound: If there is no such path or version, or there can be none of that name.
            SecretForbidden: If the identity may not read it, or cannot sign in.
            SecretDisabled: If the version is deleted or destroyed.
            SourceTimeout: If there was no answer within `total_timeout`.
            SecretUnavailable: If Vault cannot be reached, is sealed, or refuses for any other reason.
            RejectedVersion: If the version has no such key, or it is null.
            DeclarationError: If the version is neither a number nor `"latest"`.
        """
        check_version(version)
        place = arguments.checked_place(name, self._prefix, self._key)
        outcome = self._ask(place, version)
        if isinstance(outcome, PgpConfigError):
            # Raised here, where no frame holds an answer and no exception of a library is in flight.
            raise outcome.located(secret=name)
        return outcome

    def connect(self) -> None:
        """Sign in now, outside of any fetch's budget: `load()` does so.

        Raises:
            SecretForbidden: If there is nothing to sign in with, or Vault refuses it.
            SecretUnavailable: If Vault cannot be reached.
        """
        fault = self._signed_in()
        if fault is not None:
            raise fault

    def close(self) -> None:
        """End the connections and forget the token; a fetch after it signs in anew."""
        self._connection.close()

    # -- one call ----------------------------------------------------------------------------

    def _ask(self, place: arguments.Place, version: int | str) -> Payload | PgpConfigError:
        """The answer or the fault; nothing is raised while a frame holds an answer."""
        number = "" if version == "latest" else f"?version={version}"
        path = f"{arguments.quoted(self._mount)}/data/{arguments.quoted(place.path)}{number}"

        def attempt(timeout: float) -> Payload | PgpConfigError:
            return values.outcome_of(self._connection.get().read(path, timeout), place.key)

        try:
            return self._budget.run(attempt, may_pass=faults.may_pass)
        except Exception as fault:  # noqa: BLE001  whatever was raised becomes ours
            return faults.explained(fault, self._facts(place.path, version))

    def _signed_in(self) -> PgpConfigError | None:
        try:
            self._budget.run(
                lambda timeout: self._connection.get().sign_in(timeout), may_pass=faults.may_pass
            )
        except Exception as fault:  # noqa: BLE001  as above
            return faults.explained(fault, self._facts("PATH", "latest"))
        return None

    def _facts(self, path: str, version: int | str) -> dict[str, object]:
        namespace = f", namespace {self._namespace}" if self._namespace else ""
        return {
            "where": f"mount {self._mount} of {self._address.url}{namespace}",
            "mount": self._mount,
            "path": path,
            "version": version,
            "total": self._budget.total_timeout,
        }

    def _connect(self) -> Connection:
        sender = Sender(
            self._address.url,
            namespace=self._namespace,
            ca=self._ca,
            is_local=self._address.is_local,
        )
        return Connection(sender, self._auth)
