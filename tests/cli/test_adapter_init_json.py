"""`agoge adapter init --json`: the files that were written, for programs."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from router.cli.main import command


def test_the_files_are_named_and_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["adapter", "init", "core", str(tmp_path / "mind"), "--json"])
    assert done.exit_code == 0, done.output
    files = [Path(name) for name in json.loads(done.stdout)["files"]]
    assert {file.name for file in files} >= {"README.md", "recipe.toml", "texts.jsonl", "heldout.jsonl"}
    assert all(file.is_file() for file in files)
