"""Sockets to listen on: bound before anything slow is loaded, alone or as one of several on a port.

Knows no server and no application.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import click

from router.core.errors import AgogeError

PORT = click.IntRange(0, 65535)


class PortTaken(AgogeError):
    """Nobody can listen there; the message says how to choose another port or address."""


def bind(host: str, port: int, *, admin: bool = False) -> socket.socket:
    """Return a bound socket that does not listen yet, before anything slow is loaded. Raises PortTaken."""
    listener = _socket(host)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise _taken(host, port, error, admin) from None
    return listener


def bind_one_of_several(host: str, port: int) -> socket.socket:
    """Return a bound socket that shares its port with others of ours (SO_REUSEPORT).

    Linux hands every new connection to one of those that listen, by a hash of its addresses and ports. A socket
    that is bound but does not listen gets none, and keeps the port.
    """
    listener = _socket(host)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


@contextmanager
def reserved(host: str, port: int, *, admin: bool = False) -> Iterator[socket.socket]:
    """Keep a port for several sockets of ours; yields one that is bound. Raises PortTaken when it is not free.

    Sockets that may share a port do not notice each other, so it is bound alone first, which fails where somebody
    listens. Whoever reserved it and does not listen yet is noticed by a name that only one can have (unix(7)).
    """
    with bind(host, port, admin=admin) as alone:
        port = alone.getsockname()[1]
    with socket.socket(socket.AF_UNIX) as name:
        try:
            name.bind(f"\0agoge {host}:{port}")
        except OSError as error:
            raise _taken(host, port, error, admin) from None
        with bind_one_of_several(host, port) as kept:
            yield kept


def address(listener: socket.socket) -> str:
    """Return the URL of a bound socket: the port is known only now when any free one was asked for."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class HostPort(click.ParamType[tuple[str, int]]):
    """`HOST:PORT`; an IPv6 address in brackets."""

    name = "HOST:PORT"

    def convert(
        self, value: str | tuple[str, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Return (host, port), or fail with what would be right."""
        if isinstance(value, tuple):
            return value
        host, colon, port = value.rpartition(":")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not (colon and host and port.isdecimal() and int(port) < 65536) or (":" in host and "[" not in value):
            self.fail(f"{value!r} is not HOST:PORT, such as 127.0.0.1:9090 or [::1]:9090", param, ctx)
        return host, int(port)


def _taken(host: str, port: int, error: OSError, admin: bool) -> PortTaken:
    another = "another port behind --admin HOST:" if admin else "make run PORT=9000, or --port 9000"
    if error.errno not in (errno.EADDRINUSE, errno.EACCES):  # the port is not at fault
        option = "--admin 127.0.0.1:PORT" if admin else "--host 127.0.0.1"
        another = f"{option}, or another address of this machine"
    return PortTaken(f"cannot listen on {host}:{port} ({error.strerror}); try {another}")


def _socket(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio switches Nagle's algorithm off only where it is: without it every
    # streamed answer waits 40 ms for the client's delayed ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return listener
