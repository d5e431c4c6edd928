"""`agoge adapter train` says what it can train, and refuses what it cannot, before anything heavy is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from router.cli.adapter import command


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, ["train", *arguments])
    return result.exit_code, result.output


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    for name, extra in (("alpha", 'core = "mind"\n'), ("mind", "")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "recipe.toml").write_text(
            "seed = 1\nsteps = 1\nbatch = 1\nlearning_rate = 0.01\nwarmup = 1\nrank = 2\nalpha = 4\n"
            'targets = ["q_proj"]\nprecision = "float32"\n' + extra
        )
    return tmp_path


@pytest.mark.parametrize("arguments", [(), ("mind", "--all")])
def test_one_name_or_all(recipes: Path, arguments: tuple[str, ...]) -> None:
    code, output = run(*arguments, "--recipes", str(recipes), "--out", str(recipes / "out"))
    assert code == 2
    assert "give one NAME or --all; the recipes are mind, alpha" in output  # the core before its domain


def test_unknown_name_lists_the_known(recipes: Path) -> None:
    code, output = run("nobody", "--recipes", str(recipes), "--out", str(recipes / "out"))
    assert code == 2
    assert "no recipe 'nobody'" in output
    assert "there are mind, alpha" in output


def test_folder_without_recipes_is_named(tmp_path: Path) -> None:
    code, output = run("--all", "--recipes", str(tmp_path), "--out", str(tmp_path / "out"))
    assert code == 1
    assert "expected NAME/recipe.toml" in output


def test_missing_extra_says_how_to_install_it(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.cli.adapter.find_spec", lambda package: None if package == "peft" else object())
    code, output = run("mind", "--recipes", str(recipes), "--out", str(recipes / "out"))
    assert code == 1
    assert "training needs peft: pip install -e '.[train]' in Agoge's folder" in output


def test_the_verb_does_not_load_torch() -> None:
    code = "import sys, router.cli.adapter, blends.train; print({'torch', 'peft', 'gguf'} & sys.modules.keys())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
