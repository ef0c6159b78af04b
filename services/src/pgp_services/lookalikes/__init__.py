"""Local stand-ins for what the fleet calls; for tests and the demo, never for real secrets.

They listen on 127.0.0.1 at a free port, and stop with their `with` block. `lookalikes.postgres` is no
stand-in: it runs the real PostgreSQL of this machine.
"""

from pgp_services.lookalikes.changenow import ChangeNowServer
from pgp_services.lookalikes.cloud_tasks import CloudTasksServer
from pgp_services.lookalikes.ethereum import EthereumServer
from pgp_services.lookalikes.gateway import Gateway
from pgp_services.lookalikes.nowpayments import NowPaymentsServer
from pgp_services.lookalikes.routes import Routes
from pgp_services.lookalikes.slack import SlackServer
from pgp_services.lookalikes.telegram import TelegramServer

__all__ = [
    "ChangeNowServer",
    "CloudTasksServer",
    "EthereumServer",
    "Gateway",
    "NowPaymentsServer",
    "Routes",
    "SlackServer",
    "TelegramServer",
]
