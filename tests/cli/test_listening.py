"""Ports that several processes share, and how an address is written."""

from __future__ import annotations

import socket

import click
import pytest

from bench.ports import free_port
from router.cli.listening import HostPort, PortTaken, address, bind, bind_one_of_several, reserved


def test_a_reserved_port_is_ours_to_share_and_nobody_elses_to_reserve() -> None:
    with reserved("127.0.0.1", 0) as kept:
        port = kept.getsockname()[1]
        with pytest.raises(PortTaken, match=f"cannot listen on 127.0.0.1:{port}"), reserved("127.0.0.1", port):
            pass
        with bind_one_of_several("127.0.0.1", port) as one, bind_one_of_several("127.0.0.1", port) as other:
            one.listen()
            other.listen()
            with pytest.raises(PortTaken):
                bind("127.0.0.1", port)
    with reserved("127.0.0.1", port):
        pass


def test_a_port_that_somebody_listens_on_cannot_be_reserved() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(PortTaken, match="try another port behind --admin"),
        reserved("127.0.0.1", other.getsockname()[1], admin=True),
    ):
        pass


def test_a_socket_that_does_not_listen_gets_no_connection() -> None:
    with reserved("127.0.0.1", free_port()) as kept, pytest.raises(ConnectionRefusedError):
        socket.create_connection(kept.getsockname(), timeout=20)


@pytest.mark.parametrize(
    ("text", "means"), [("127.0.0.1:9090", ("127.0.0.1", 9090)), ("[::1]:9", ("::1", 9)), ("ops:0", ("ops", 0))]
)
def test_an_address_is_host_and_port(text: str, means: tuple[str, int]) -> None:
    assert HostPort().convert(text, None, None) == means


@pytest.mark.parametrize("text", ["9090", ":9090", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:70000", "::1:9090"])
def test_another_form_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(click.UsageError, match="is not HOST:PORT, such as"):
        HostPort().convert(text, None, None)


def test_the_address_of_a_socket_is_an_url() -> None:
    with bind("127.0.0.1", 0) as listener:
        assert address(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
