"""A local stand-in for Cloud Tasks on Google's own messages: queues, tasks and their delivery.

rules (what Google refuses) → store (queues and tasks) → delivery (HTTP to the ports that a table of routes
names) → methods (the calls) → over_grpc, over_rest (Google's clients, and `gcloud tasks`) → server.
"""

from pgp_services.lookalikes.cloud_tasks.server import CloudTasksServer
from pgp_services.lookalikes.cloud_tasks.store import Delivery, RecordedTask

__all__ = ["CloudTasksServer", "Delivery", "RecordedTask"]
