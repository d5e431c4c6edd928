"""One of several workers: serves on the sockets that it was given, and tells whoever started it how it goes.

Started by `router.cli.workers`, by nobody else. Knows no other worker.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import replace

from router.cli.post import Post
from router.cli.server import serving
from router.core.errors import AgogeError
from router.ports import Sink
from router.wiring.settings import Settings


async def work(settings: Settings, post: Post, sinks: Sequence[Sink]) -> int:
    """Serve until a signal comes, or nobody looks after this worker any more. Return the exit status."""
    line = socket.socket(fileno=post.line)
    listener = socket.socket(fileno=post.listen)
    admin = None if post.admin is None else socket.socket(fileno=post.admin)
    settings = replace(settings, worker=post.number)
    try:
        async with serving(settings, listener, sinks, admin=admin, aloud=post.aloud) as (live, served):
            _tell(line, ready=live.router.state.policies.revision)
            alone = asyncio.create_task(_left_alone(line))
            await served
            alone.cancel()
    except BrokenPipeError:  # nobody waits for it any more
        return 1
    except (AgogeError, OSError) as error:
        _tell(line, failed=str(error))
        return 1
    finally:
        for each in (line, listener, admin):
            if each is not None:
                each.close()
    return 0


def _tell(line: socket.socket, **what: str) -> None:
    line.setblocking(True)
    line.sendall(json.dumps(what).encode() + b"\n")


async def _left_alone(line: socket.socket) -> None:
    """Stop as on a signal when the other end is closed: whose parent was killed must not keep the port."""
    line.setblocking(False)
    await asyncio.get_running_loop().sock_recv(line, 1)
    os.kill(os.getpid(), signal.SIGTERM)
