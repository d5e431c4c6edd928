"""How a Redis or Valkey server is reached, whatever is kept there. Knows neither keys nor values."""

from __future__ import annotations

from contextlib import suppress

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from router.redis_address import without_password


def redis_at(url: str, *, connections: int, patience: float, connect: float) -> Redis:
    """Return a client; nothing is connected yet. Seconds: `patience` for an answer, `connect` for a connection.

    Raises ValueError on a URL that is not a Redis one, without repeating it: it may hold a password.
    """
    place = without_password(url)
    try:
        pool = ConnectionPool.from_url(
            url,
            max_connections=connections,
            socket_timeout=patience,
            socket_connect_timeout=connect,
            # redis-py 8's client retries 10 times with backoff by default: a cache has no time for that, and what
            # is appended twice is there twice.
            retry=Retry(NoBackoff(), 0),
            # RESP2 without CLIENT SETINFO: no HELLO, no push messages, a connection costs no extra round trip.
            protocol=2,
            driver_info=None,
        )
    except (ValueError, TypeError, RedisError):
        raise ValueError(f"{place}: not a Redis URL that redis-py understands") from None
    return Redis.from_pool(pool)


async def connect_anew(client: Redis) -> None:
    """Give up idle connections: after a failover they lead to a replica, and new ones to the master.

    redis-py does this for Sentinel only; behind one name or address nothing else would ever end them.
    """
    with suppress(RedisError, OSError):
        await client.connection_pool.disconnect(inuse_connections=False)
