"""A real llama.cpp server on a TCP port of this machine, through xllamacpp, and a wire that remembers what passed.

Adapters are registered at scale 1.0, llama.cpp's own default and the dangerous one: whatever a request leaves out
speaks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import xllamacpp


def served(
    base: Path, adapters: Sequence[Path], *, port: int = 0, parallel: int = 2, context: int = 1024, key: str = ""
) -> Any:
    """Return a running server; it ends with its last reference. `context` is in tokens, for each of `parallel`."""
    params = xllamacpp.CommonParams()
    params.model.path = str(base)
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(path), 1.0) for path in adapters]
    params.n_parallel, params.n_ctx = parallel, context * parallel
    params.ctx_shift = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.hostnames, params.port = ["127.0.0.1"], port
    params.api_keys = [key] if key else []
    params.verbosity = 0
    return xllamacpp.Server(params)


class LlamaServer:
    """The server as a process would be: started, stopped, started again at the same address with other files."""

    def __init__(self, base: Path, adapters: Sequence[Path], **options: Any) -> None:
        self.base, self.adapters, self.options = base, list(adapters), options
        self.url = ""
        self._held: list[Any] = []

    async def start(self) -> None:
        """Start on a free port, or on the one it had."""
        port = int(self.url.rsplit(":", 1)[1]) if self.url else 0
        self._held = [await asyncio.to_thread(served, self.base, self.adapters, port=port, **self.options)]
        self.url = self._held[0].listening_address

    async def stop(self) -> None:
        """End it and its connections."""
        await asyncio.to_thread(self._held.clear)


@asynccontextmanager
async def llama_server(base: Path, adapters: Sequence[Path], **options: Any) -> AsyncIterator[LlamaServer]:
    """Run one."""
    server = LlamaServer(base, adapters, **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class Wire:
    """Passes bytes on to `url` and keeps what was asked. `cut` ends every connection that is open."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rsplit(":", 1)[1])
        self._asked = bytearray()
        self._open: set[asyncio.StreamWriter] = set()
        self.connections = 0
        self.url = ""

    async def __aenter__(self) -> Wire:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """End every connection."""
        for writer in self._open:
            writer.close()

    @property
    def posts(self) -> list[tuple[str, dict[str, Any]]]:
        """Path and JSON of every POST, in order of arrival."""
        found = []
        for request in bytes(self._asked).split(b"POST ")[1:]:
            head, _, rest = request.partition(b"\r\n\r\n")
            body, _ = json.JSONDecoder().raw_decode(rest.decode())
            found.append((head.split(b" ", 1)[0].decode(), body))
        return found

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.close()
            return
        self._open |= {writer, up_writer}

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, keep: bool) -> None:
            try:
                while piece := await source.read(65536):
                    if keep:
                        self._asked += piece
                    sink.write(piece)
            except ConnectionError:
                pass
            finally:
                sink.close()

        await asyncio.gather(copy(reader, up_writer, True), copy(up_reader, writer, False))
        self._open -= {writer, up_writer}
