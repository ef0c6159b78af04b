"""Proof of uptake: each process reports which versions it uses, and a verdict is read from that.

cache ──▶ reporter ──▶ store (SQLite, Redis, memory) ──▶ verdict: safe, waiting for whom, or unknown

Nothing here is on the way of a read: the reporter is told when a fetch has landed and when an old version was
let go, and tells the store from a thread of its own.
"""

from pgp_config.uptake.reporter import Uptake

__all__ = ["Uptake"]
