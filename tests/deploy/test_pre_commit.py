"""The hooks before a commit: programs that are locked and there, and a search for secrets that finds some."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.compose_file import ROOT

HOOKS: dict[str, dict[str, Any]] = {
    hook["id"]: hook
    for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    for hook in repository["hooks"]
}
# In pieces: this file is searched too.
PLANTED = {
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "Slack": "token: xoxb-" + "123456789012-1234567890123-" + "abcdefghijklmnopqrstuvwx",
    "GitHub": "token = 'ghp_" + "1234567890abcdefghijklmnopqrstuvwxyz'",
    "AWS": "key = 'AKIA" + "IOSFODNN7EXAMPLQ'",
}


def command(hook: str) -> list[str]:
    """Return what a hook runs, with the programs of the environment that runs the tests."""
    program, *rest = shlex.split(HOOKS[hook]["entry"])
    assert program.startswith(".venv/bin/")
    return [str(Path(sys.executable).parent / Path(program).name), *rest]


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_a_hook_is_a_program_that_is_locked_and_there(hook: str) -> None:
    assert HOOKS[hook]["language"] == "system"  # nothing is downloaded
    if hook != "policy":  # our own, which is not installed where only its tests run
        assert Path(command(hook)[0]).is_file()


def found(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command("secrets"), str(file)], capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("kind", sorted(PLANTED))
def test_a_secret_stops_the_commit(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.txt"
    file.write_text(f"one line\n{PLANTED[kind]}\n", "utf-8")
    done = found(file)
    assert done.returncode == 1
    assert "settings.txt:2" in done.stdout


@pytest.mark.parametrize("file", ["compose.yaml", "requirements/serve.txt", "tests/cli/test_secrets.py"])
def test_what_only_looks_like_one_does_not(file: str) -> None:
    assert found(ROOT / file).returncode == 0
