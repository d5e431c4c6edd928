"""A TCP proxy whose line can be made slow, or cut. Knows nothing of what passes through it."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Proxy:
    """Listens on `port` of the loopback and passes everything on to `target`; `delay` is seconds per piece, each
    way.

    `cut` refuses and ends every connection, as a dead server does; `mend` listens again.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port, self.target, self.delay = port, target, 0.0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()

    async def mend(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """End everything and listen no more."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._open):
            writer.transport.abort()
        await asyncio.gather(*tuple(self._passing), return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass(source, sink))
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await source.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                sink.write(piece)
                await sink.drain()
        self._open.discard(sink)
        sink.close()
