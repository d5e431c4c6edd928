"""How a Redis or Valkey server is reached, whatever is kept there. Knows neither keys nor values."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from router.redis_address import without_password


class Lines:
    """Connections for single questions, at half of what redis-py's client costs: it counts, locks and times each.

    Whoever asks sees to it that no more than `connections` questions are under way. Seconds: `patience` for a
    question, connecting included. Raises ValueError as `redis_at` does.
    """

    def __init__(self, url: str, *, connections: int, patience: float) -> None:
        self._pool = _pool(url, connections, None, patience)
        self._patience = patience
        self._idle: list[AbstractConnection] = []  # the pool's, and not given back to it between questions

    async def ask(self, *commands: tuple[bytes | str | int, ...]) -> list[Any]:
        """Send all commands at once and return the replies in their order; those of errors are raised.

        Raises RedisError, OSError or TimeoutError; after anything but an error reply the connection is cut.
        """
        async with asyncio.timeout(self._patience):
            connection = self._idle.pop() if self._idle else await self._new()
            try:
                await self._pool.ensure_connection(connection)  # the server may have ended an idle one
                await connection.send_packed_command(connection.pack_commands(commands))
                replies = [await _reply(connection) for _ in commands]
            except BaseException:  # a late reply must never be taken for the next question's
                await connection.disconnect(nowait=True)
                raise
            finally:
                self._idle.append(connection)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        return replies

    async def _new(self) -> AbstractConnection:
        return await self._pool.get_connection()  # type: ignore[no-untyped-call, no-any-return]

    async def connect_anew(self) -> None:
        """Give up idle connections, as the function of this name does."""
        with suppress(RedisError, OSError):
            for connection in self._idle:
                await connection.disconnect()

    async def aclose(self) -> None:
        """Close every connection."""
        with suppress(RedisError, OSError):  # closing what is already broken: nothing is left to release
            await self._pool.aclose()


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:  # the others' replies follow
        return error


def redis_at(url: str, *, connections: int, patience: float, connect: float) -> Redis:
    """Return a client; nothing is connected yet. Seconds: `patience` for an answer, `connect` for a connection.

    Raises ValueError on a URL that is not a Redis one, without repeating it: it may hold a password.
    """
    return Redis.from_pool(_pool(url, connections, patience, connect))


def _pool(url: str, connections: int, patience: float | None, connect: float) -> ConnectionPool:
    place = without_password(url)
    try:
        return ConnectionPool.from_url(
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


async def connect_anew(client: Redis) -> None:
    """Give up idle connections: after a failover they lead to a replica, and new ones to the master.

    redis-py does this for Sentinel only; behind one name or address nothing else would ever end them.
    """
    with suppress(RedisError, OSError):
        await client.connection_pool.disconnect(inuse_connections=False)
