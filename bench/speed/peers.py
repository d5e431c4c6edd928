"""The peers' packages: found in their own folder, and used by this Python behind its own. Knows no peer.

`make bench` installs them (peers.txt) into .venv-peers; LiteLLM's auto-router wants an older semantic-router
than the newest, which lies in .venv-peers/autorouter. This environment's own versions win, so that both sides
run the same numpy, onnxruntime and web server.
"""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(".venv-peers")
AUTOROUTER = "autorouter"


def installed(folder: Path) -> bool:
    """Say whether the peers are there."""
    return (folder / AUTOROUTER / "semantic_router").is_dir() and _packages(folder).is_dir()


def use(folder: Path, *, autorouter: bool = False) -> None:
    """Let this process import the peers; with `autorouter` the semantic-router that LiteLLM asks for."""
    if autorouter:
        sys.path.append(str(folder / AUTOROUTER))
    sys.path.append(str(_packages(folder)))


def _packages(folder: Path) -> Path:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return folder / "lib" / version / "site-packages"
