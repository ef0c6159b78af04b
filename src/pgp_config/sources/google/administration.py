"""Changes in Secret Manager: a handful of calls a rotation, each under an etag where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from pgp_config.errors import PgpConfigError, SecretUnavailable
from pgp_config.sources.administration import Rights
from pgp_config.sources.google import faults

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pgp_config.payload import Payload
    from pgp_config.sources.administration import Grant, SecretFacts, VersionFacts
    from pgp_config.sources.google.manager import Client, GoogleSecretManager

T = TypeVar("T")

#: Seconds that one attempt, and all attempts of a call, may take: a person waits, no request.
ATTEMPT_TIMEOUT, TOTAL_TIMEOUT = 5.0, 15.0

#: What a rotation does, as permissions; roles/secretmanager.admin has them all.
PERMISSIONS = (
    "secretmanager.secrets.get",
    "secretmanager.secrets.update",
    "secretmanager.versions.access",
    "secretmanager.versions.add",
    "secretmanager.versions.disable",
    "secretmanager.versions.enable",
    "secretmanager.versions.list",
)

#: What reads values and metadata, and changes nothing.
READS = (
    "secretmanager.secrets.get",
    "secretmanager.secrets.getIamPolicy",
    "secretmanager.versions.access",
    "secretmanager.versions.list",
)

#: What changes a secret, or gives it away.
WIDER = (
    "secretmanager.secrets.delete",
    "secretmanager.secrets.setIamPolicy",
    "secretmanager.secrets.update",
    "secretmanager.versions.add",
    "secretmanager.versions.destroy",
    "secretmanager.versions.disable",
    "secretmanager.versions.enable",
)

#: How many versions are looked at: one page.
PAGE = 100

#: Secrets of a page of the project's list.
LIST_PAGE = 1000


class AdminClient(Protocol):
    """What a transport offers for changes. Paths are resource names; each call is one attempt of so many seconds."""

    def describe(self, path: str, timeout: float) -> SecretFacts:
        """GetSecret."""
        ...

    def versions(self, path: str, size: int, timeout: float) -> list[VersionFacts]:
        """ListSecretVersions, one page."""
        ...

    def add(self, path: str, data: bytes, crc32c: int, timeout: float) -> int:
        """AddSecretVersion."""
        ...

    def switch(self, path: str, verb: str, etag: str, timeout: float) -> None:
        """EnableSecretVersion or DisableSecretVersion; the verb is "enable" or "disable"."""
        ...

    def annotate(
        self, path: str, annotations: Mapping[str, str], etag: str, timeout: float
    ) -> None:
        """UpdateSecret of the annotations."""
        ...

    def allowed(self, path: str, permissions: Sequence[str], timeout: float) -> list[str]:
        """TestIamPermissions."""
        ...

    def names(self, parent: str, size: int, token: str, timeout: float) -> tuple[list[str], str]:
        """ListSecrets, one page: resource names, and the token of the next page; "" for none."""
        ...

    def grants(self, path: str, timeout: float) -> list[Grant]:
        """GetIamPolicy of a secret."""
        ...

    def grants_of_project(self, path: str, timeout: float) -> list[Grant]:
        """GetIamPolicy of a project, which Resource Manager answers."""
        ...


class GoogleAdministration:
    """Changes the secrets of one project; see `Administration`.

    Args:
        manager: Whose client and names it uses.
    """

    def __init__(self, manager: GoogleSecretManager) -> None:
        self._manager = manager

    def fetch(self, name: str, version: int | str = "latest") -> Payload:
        """As `Source.fetch`."""
        return self._manager.fetch(name, version)

    def describe(self, name: str) -> SecretFacts:
        """As `Administration.describe`."""
        path = self._manager.path_of(name)
        return self._read(name, "look at it", lambda c, left: c.describe(path, left))

    def versions(self, name: str) -> list[VersionFacts]:
        """As `Administration.versions`."""
        path = self._manager.path_of(name)
        return self._read(name, "list its versions", lambda c, left: c.versions(path, PAGE, left))

    def add(self, name: str, data: bytes) -> int:
        """As `Administration.add`."""
        # Not at the top: without a fetch nothing of Google's should be imported.
        from google_crc32c import value  # noqa: PLC0415  as said

        path, checksum = self._manager.path_of(name), value(data)
        return self._write(
            name, "add a version to it", lambda c, left: c.add(path, data, checksum, left)
        )

    def enable(self, name: str, version: VersionFacts) -> None:
        """As `Administration.enable`."""
        self._switch(name, "enable", version)

    def disable(self, name: str, version: VersionFacts) -> None:
        """As `Administration.disable`."""
        self._switch(name, "disable", version)

    def _switch(self, name: str, verb: str, version: VersionFacts) -> None:
        path = f"{self._manager.path_of(name)}/versions/{version.number}"
        doing = f"{verb} version {version.number} of it"
        self._write(name, doing, lambda c, left: c.switch(path, verb, version.etag, left))

    def annotate(self, name: str, secret: SecretFacts, annotations: Mapping[str, str]) -> None:
        """As `Administration.annotate`."""
        path = self._manager.path_of(name)
        self._write(
            name, "annotate it", lambda c, left: c.annotate(path, annotations, secret.etag, left)
        )

    def lacking(self, name: str) -> list[str]:
        """As `Administration.lacking`."""
        path = self._manager.path_of(name)
        try:
            allowed = self._read(
                name, "ask for its permissions", lambda c, left: c.allowed(path, PERMISSIONS, left)
            )
        except SecretUnavailable:  # what is refused will be told by the call that needs it
            return []
        return sorted(set(PERMISSIONS) - set(allowed))

    # -- for who looks after the project -----------------------------------------------------

    def names(self) -> list[str]:
        """As `Inspection.names`."""
        found: list[str] = []
        token = ""
        while True:
            page, token = self._page(token)
            found += (path.rpartition("/")[2] for path in page)
            if not token:
                return sorted(found)

    def _page(self, token: str) -> tuple[list[str], str]:
        parent = self._manager.parent
        return self._read(
            None, "list its secrets", lambda c, left: c.names(parent, LIST_PAGE, token, left)
        )

    def grants(self, name: str) -> list[Grant]:
        """As `Inspection.grants`."""
        path = self._manager.path_of(name)
        return self._read(name, "read its IAM policy", lambda c, left: c.grants(path, left))

    def grants_above(self) -> list[Grant]:
        """As `Inspection.grants_above`; folders and organizations above the project are not looked at."""
        path = f"projects/{self._manager.project}"
        doing = "read the project's IAM policy (resourcemanager.projects.getIamPolicy)"
        return self._read(None, doing, lambda c, left: c.grants_of_project(path, left))

    def rights(self, name: str) -> Rights:
        """As `Inspection.rights`."""
        path, asked = self._manager.path_of(name), (*READS, *WIDER)
        allowed = self._read(
            name, "ask for its permissions", lambda c, left: c.allowed(path, asked, left)
        )
        wider = tuple(permission for permission in WIDER if permission in allowed)
        return Rights("secretmanager.versions.access" in allowed, wider)

    # -- one call ----------------------------------------------------------------------------

    def _read(self, name: str | None, doing: str, call: Callable[[AdminClient, float], T]) -> T:
        return self._perform(name, doing, call, may_pass=faults.may_pass)

    def _write(self, name: str, doing: str, call: Callable[[AdminClient, float], T]) -> T:
        """Once: a change whose answer was lost may have been made."""
        return self._perform(name, doing, call, may_pass=_never)

    def _perform(
        self,
        name: str | None,
        doing: str,
        call: Callable[[AdminClient, float], T],
        *,
        may_pass: Callable[[BaseException], bool],
    ) -> T:
        def attempt(client: Client, timeout: float) -> T:
            return call(client.admin(), timeout)

        def explain(fault: Exception) -> PgpConfigError:
            return faults.explained_change(
                fault,
                where=self._manager.where,
                doing=doing,
                total=TOTAL_TIMEOUT,
                endpoint=self._manager.endpoint,
            )

        outcome = self._manager.perform(
            attempt, explain, each=ATTEMPT_TIMEOUT, total=TOTAL_TIMEOUT, may_pass=may_pass
        )
        if isinstance(outcome, PgpConfigError):
            # Raised here, where no exception of Google's is in flight.
            raise outcome.located(secret=name)
        return outcome


def _never(_: BaseException) -> bool:
    return False
