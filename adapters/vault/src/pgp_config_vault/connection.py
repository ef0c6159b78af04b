"""What one process holds: a session and a token, which is renewed by the reads that come when it is due.

No thread renews it: a frozen process (Cloud Run) would not run it, and a forked one would not have it.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pgp_config_vault import faults
from pgp_config_vault.auth import Token
from pgp_config_vault.faults import VaultFault
from pgp_config_vault.leases import Lease, auth_of, lease_of
from pgp_config_vault.sending import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgp_config_vault.auth import Auth
    from pgp_config_vault.sending import Answer, Sender

_DENIED = 403


class Connection:
    """Reads with a token; threads may share it.

    Args:
        sender: Sends the requests; it is closed with this.
        auth: How to sign in.
    """

    def __init__(self, sender: Sender, auth: Auth | Token) -> None:
        self._sender = sender
        self._auth = auth
        self._lease: Lease | None = None
        self._signing_in = threading.Lock()

    def close(self) -> None:
        """End the connections, and forget the token."""
        self._lease = None
        self._sender.close()

    def sign_in(self, timeout: float) -> None:
        """Have a token, in so many seconds.

        Raises:
            VaultFault: If there is none.
        """
        self._good_lease(Deadline(timeout))

    def read(self, path: str, timeout: float) -> Answer:
        """One attempt to read, in so many seconds; with another token where Vault knows this one no more.

        Raises:
            VaultFault: If there is no answer, or no permission.
        """
        deadline = Deadline(timeout)
        lease = self._good_lease(deadline)
        answer = self._sender.send("GET", path, deadline, token=lease.token)
        if answer.code != _DENIED:
            return answer
        if self._looked_up(lease.token, deadline).is_ok:
            raise VaultFault(faults.FORBIDDEN, answer.reason)
        answer = self._sender.send(
            "GET", path, deadline, token=self._good_lease(deadline, instead_of=lease).token
        )
        if answer.code == _DENIED:
            raise VaultFault(faults.REFUSED, answer.reason)
        return answer

    # -- the token ---------------------------------------------------------------------------

    def _good_lease(self, deadline: Deadline, instead_of: Lease | None = None) -> Lease:
        """The token; whoever comes while another is being had waits for it."""
        lease = self._lease
        if lease is not None and lease is not instead_of and not lease.is_due:
            return lease
        with self._alone(deadline):
            lease = self._lease
            if lease is instead_of:
                lease = None
            if lease is None or lease.is_due:
                lease = self._lease = self._next(lease, deadline)
            return lease

    @contextmanager
    def _alone(self, deadline: Deadline) -> Iterator[None]:
        if not self._signing_in.acquire(timeout=deadline.left()):
            raise VaultFault(faults.TIMEOUT, "another thread is still signing in")
        try:
            yield
        finally:
            self._signing_in.release()

    def _next(self, lease: Lease | None, deadline: Deadline) -> Lease:
        """The token renewed, or another; the same as long as it is good and nothing better is to be had."""
        try:
            return self._renewed(lease, deadline) or self._new(deadline)
        except VaultFault:
            if lease is None or lease.is_over:
                raise
        lease.put_off()
        return lease

    def _renewed(self, lease: Lease | None, deadline: Deadline) -> Lease | None:
        if lease is None or lease.is_over or not lease.renewable:
            return None
        answer = self._sender.send(
            "POST", "auth/token/renew-self", deadline, token=lease.token, body={}
        )
        found = auth_of(answer)
        if not answer.is_ok or not found:
            return None
        return lease.renewed(
            float(found.get("lease_duration", 0)), renewable=bool(found.get("renewable"))
        )

    def _new(self, deadline: Deadline) -> Lease:
        if isinstance(self._auth, Token):
            return self._given(self._auth.current(), deadline)
        login = self._auth.login()
        answer = self._sender.send("POST", login.path, deadline, body=login.body)
        if answer.is_ok:
            return lease_of(answer)
        raise VaultFault(faults.LOGIN_REFUSED, _without(answer.reason, login.body.values()))

    def _given(self, token: str, deadline: Deadline) -> Lease:
        """A token that was given, with the times that it tells; without any where it may not tell them."""
        answer = self._looked_up(token, deadline)
        found = answer.document.get("data") if answer.is_ok else None
        found = found if isinstance(found, dict) else {}
        return Lease(token, float(found.get("ttl") or 0), renewable=bool(found.get("renewable")))

    def _looked_up(self, token: str, deadline: Deadline) -> Answer:
        """What a living token tells of itself; the default policy lets it."""
        return self._sender.send("GET", "auth/token/lookup-self", deadline, token=token)


def _without(text: str, secrets: Iterable[str]) -> str:
    """A text of the server's that repeats nothing of what was sent."""
    for secret in secrets:
        text = text.replace(secret, "…") if secret else text
    return text
