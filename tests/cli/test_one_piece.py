"""A head leaves with the first of its body, alone where nothing follows at once, and before everything else."""

from __future__ import annotations

import asyncio

from router.cli.one_piece import OnePiece

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Recorded(asyncio.Transport):
    """What was done, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[bytes | str] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.done.append(bytes(data))

    def write_eof(self) -> None:
        self.done.append("eof")

    def close(self) -> None:
        self.done.append("close")
        self.closed = True

    def abort(self) -> None:
        self.done.append("abort")
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def over(transport: asyncio.Transport) -> OnePiece:
    return OnePiece(transport, asyncio.get_running_loop())


async def test_a_head_and_its_body_are_one_piece() -> None:
    transport = Recorded()
    joining = over(transport)
    for data in (HEAD, b"first", b"second", HEAD, b"third"):
        joining.write(data)
    await asyncio.sleep(0)
    assert transport.done == [HEAD + b"first", b"second", HEAD + b"third"]


async def test_a_head_without_a_body_waits_for_nothing() -> None:
    transport = Recorded()
    joining = over(transport)
    joining.write(HEAD)
    assert transport.done == []
    await asyncio.sleep(0)
    assert transport.done == [HEAD]
    joining.write(b"later")
    assert transport.done == [HEAD, b"later"]


async def test_what_ends_a_connection_comes_after_the_head() -> None:
    for end in ("write_eof", "close"):
        transport = Recorded()
        joining = over(transport)
        joining.write(HEAD)
        getattr(joining, end)()
        await asyncio.sleep(0)
        assert transport.done == [HEAD, end.removeprefix("write_")]


async def test_nothing_is_written_to_what_was_given_up() -> None:
    transport = Recorded()
    joining = over(transport)
    joining.write(HEAD)
    joining.abort()
    await asyncio.sleep(0)
    assert transport.done == ["abort"]
