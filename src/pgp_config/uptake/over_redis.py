"""Reports of many machines, in Redis: the only file that imports redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis

from pgp_config.uptake.entries import Entry, Heard

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Seconds for connecting, and for each answer.
PATIENCE = 1.0

# A secret has two keys: when each entry ends, by Redis's own clock (a sorted set), and the entries (a hash). Redis
# expires keys, and the fields of a hash only since 7.4: what has ended is removed with each call. The braces make both
# keys one slot of a cluster.
_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ended = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)
for _, instance in ipairs(ended) do redis.call('HDEL', KEYS[2], instance) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
"""

_REPORT = (
    _NOW
    + """
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, math.max(redis.call('PTTL', key), tonumber(ARGV[2])))
end
"""
)

_READ = (
    _NOW
    + """
local found = {}
for _, instance in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    local left = redis.call('ZSCORE', KEYS[1], instance) - now
    table.insert(found, {redis.call('HGET', KEYS[2], instance), left})
end
return found
"""
)


class RedisUptake:
    """Reports in Redis, shared by the machines of a team; the clock is Redis's.

    Args:
        url: As redis-py takes it: `redis://`, `rediss://` or `unix://`, with user and password. It is in no text
            of this class.
        namespace: Keeps apart what shares a Redis, such as staging and production.
    """

    def __init__(self, url: str, namespace: str = "") -> None:
        self._prefix = f"pgp_config:uptake:{namespace}:"
        # It connects on first use, and anew in a forked child.
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE
        )
        self._report = self._redis.register_script(_REPORT)
        self._read = self._redis.register_script(_READ)

    def __repr__(self) -> str:
        return "<RedisUptake>"

    def report(self, entries: Sequence[Entry]) -> None:
        """As `UptakeStore.report`; one round trip."""
        pipeline = self._redis.pipeline(transaction=False)
        for each in entries:
            arguments: list[str | int] = [
                each.instance,
                max(1, round(each.ttl * 1000)),
                each.to_json(),
            ]
            self._report(self._keys(each.secret), arguments, client=pipeline)
        pipeline.execute()

    def read(self, secret: str) -> list[Heard]:
        """As `UptakeStore.read`."""
        rows = self._read(keys=self._keys(secret), args=[])
        entries = [(Entry.from_json(text), left) for text, left in rows]
        return [Heard(entry, max(0.0, entry.ttl - left / 1000)) for entry, left in entries]

    def leave(self, instance: str, secrets: Iterable[str]) -> None:
        """As `UptakeStore.leave`."""
        pipeline = self._redis.pipeline(transaction=False)
        for secret in secrets:
            ends, entries = self._keys(secret)
            pipeline.zrem(ends, instance)
            pipeline.hdel(entries, instance)
        pipeline.execute()

    def close(self) -> None:
        """End the connections."""
        self._redis.close()

    def _keys(self, secret: str) -> list[str]:
        stem = f"{self._prefix}{{{secret}}}"
        return [f"{stem}:ends", f"{stem}:entries"]
