"""A real n8n as its users run it: commands that end, and a server, on a user folder of the tests' own.

Knows where things lie in the prefix that tests/n8n/install.sh fills; knows nothing of Agoge.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.ports import free_port

COMMAND_SECONDS = 300  # a command takes 15 seconds on a quiet machine
START_SECONDS = 300
READY = "Editor is now accessible"  # its health routes answer before it has loaded its nodes
OTHER_METHOD = "Did you mean to make a POST request?"  # what a GET of a registered POST webhook is told
QUIET = {
    "N8N_DIAGNOSTICS_ENABLED": "false",
    "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
    "N8N_TEMPLATES_ENABLED": "false",
    "N8N_PERSONALIZATION_ENABLED": "false",
    "N8N_LISTEN_ADDRESS": "127.0.0.1",
    "N8N_SECURE_COOKIE": "false",
    "NO_COLOR": "1",
}

Item = dict[str, Any]


@dataclass(frozen=True)
class Execution:
    """What one run of a workflow left: every node's items, in n8n's own structure."""

    run: Mapping[str, Any]

    def items(self, node: str, output: int = 0, kind: str = "main", turn: int = -1) -> list[Item]:
        """Return what `node` gave out on its last `turn`, as plain objects."""
        given = self.run[node][turn]["data"][kind]
        return [item["json"] for item in given[output] or ()]


class N8n:
    """n8n on `home`; `prefix` holds node and n8n."""

    def __init__(self, prefix: Path, home: Path) -> None:
        self.home = home
        self.nodes = home / ".n8n" / "nodes"
        self.port, self.broker = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home / "n8n.log"
        self._bin = prefix / "node" / "bin"
        script = prefix / "app" / "node_modules" / "n8n" / "bin" / "n8n"
        self.environment = {
            **os.environ,
            **QUIET,
            "PATH": f"{self._bin}{os.pathsep}{os.environ['PATH']}",
            "N8N_USER_FOLDER": str(home),
            "N8N_PORT": str(self.port),
            "N8N_RUNNERS_BROKER_PORT": str(self.broker),
        }
        # The wheel's `node` is a Python program that starts the real one and would keep signals to itself.
        self._n8n = [self.node("node", "-p", "process.execPath").strip(), str(script)]

    def node(self, *words: str, cwd: Path | None = None) -> str:
        """Run node, npm or what else lies beside them to its end; return what it says. It must succeed."""
        command = [str(self._bin / words[0]), *words[1:]]
        done = subprocess.run(
            command, env=self.environment, cwd=cwd, capture_output=True, text=True, timeout=1200, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def command(self, *words: str) -> str:
        """Run one command of n8n to its end and return its standard output; it must succeed."""
        done = subprocess.run(
            [*self._n8n, *words],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"n8n {' '.join(words)}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def take_in(self, kind: str, objects: list[Any]) -> None:
        """Import workflows or credentials; n8n must say that it took all of them."""
        file = self.home / f"{kind}.json"
        file.write_text(json.dumps(objects), "utf-8")
        said = self.command(f"import:{kind}", f"--input={file}")
        assert f"Successfully imported {len(objects)} " in said, said

    def execute(self, workflow: str) -> Execution:
        """Run a workflow from its manual trigger; it must succeed."""
        said = self.command("execute", f"--id={workflow}", "--rawOutput")
        assert "{\n" in said, said
        told, _ = json.JSONDecoder().raw_decode(said[said.index("{\n") :])  # its runner may speak after it
        assert told["status"] == "success", said
        return Execution(told["data"]["resultData"]["runData"])

    @contextmanager
    def serving(self, *webhooks: str) -> Iterator[httpx.Client]:
        """Serve until the end of the block; the POST `webhooks` of published workflows answer to the client."""
        with self.log.open("wb") as sink:
            process = subprocess.Popen(
                [*self._n8n, "start"],
                env=self.environment,
                cwd=self.home,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        try:
            with httpx.Client(base_url=self.url, timeout=120) as client:
                end = time.monotonic() + START_SECONDS
                while READY not in self.log.read_text() or not all(
                    OTHER_METHOD in client.get(f"/webhook/{path}").text for path in webhooks
                ):
                    assert process.poll() is None, self.log.read_text()
                    assert time.monotonic() < end, self.log.read_text()
                    time.sleep(0.5)
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
