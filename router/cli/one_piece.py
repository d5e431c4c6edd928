"""A transport that sends an answer's head with the first of its body: one packet, and one call of the kernel.

Uvicorn writes them one after the other, and uvloop sends each at once. Knows no answer, only how one begins.
"""

from __future__ import annotations

import asyncio
from typing import Any

_HEAD = b"HTTP/1.1 "


class OnePiece:
    """Passes everything on to `transport`; only a head waits for what is written in the same turn of the loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._head = b""
        self.is_closing = transport.is_closing  # asked several times a request

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send `data`, or keep it for a moment where an answer begins with it."""
        if self._head:
            self._transport.write(self._head + data)
            self._head = b""
        elif data.startswith(_HEAD):
            self._head = data
            self._loop.call_soon(self._send_head)
        else:
            self._transport.write(data)

    def write_eof(self) -> None:
        """Send what waits, and no more after it."""
        self._send_head()
        self._transport.write_eof()

    def close(self) -> None:
        """Send what waits, and close."""
        self._send_head()
        self._transport.close()

    def _send_head(self) -> None:
        head, self._head = self._head, b""
        if head and not self.is_closing():
            self._transport.write(head)
