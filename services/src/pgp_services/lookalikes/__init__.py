"""Local stand-ins for what the fleet calls; for tests and the demo, never for real secrets.

They listen on 127.0.0.1 at a free port, and stop with their `with` block. `lookalikes.postgres` is no
stand-in: it runs the real PostgreSQL of this machine.
"""

from pgp_services.lookalikes.changenow import ChangeNowServer
from pgp_services.lookalikes.cloud_tasks import CloudTasksServer
from pgp_services.lookalikes.nowpayments import NowPaymentsServer
from pgp_services.lookalikes.slack import SlackServer

__all__ = ["ChangeNowServer", "CloudTasksServer", "NowPaymentsServer", "SlackServer"]
