"""`agoge adapter` says what it can train, and refuses what it cannot, before anything heavy is loaded."""

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
        with_core = ', "with_core": "a"' if extra else ""
        (folder / "texts.jsonl").write_text(f'{{"lang": "en", "prompts": ["q"], "answer": "a"{with_core}}}')
    return tmp_path


@pytest.mark.parametrize("arguments", [(), ("mind", "--all")])
def test_one_name_or_all(recipes: Path, arguments: tuple[str, ...]) -> None:
    code, output = run(*arguments, "--recipes", str(recipes), "--out", str(recipes / "out"))
    assert code == 2
    assert "give one FOLDER or NAME, or --all; the recipes are mind, alpha" in output  # the core before its domain


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
    monkeypatch.setattr(
        "router.cli.adapter_train.find_spec", lambda package: None if package == "peft" else object()
    )
    code, output = run("mind", "--recipes", str(recipes), "--out", str(recipes / "out"))
    assert code == 1
    assert "training needs peft: pip install -e '.[train]' in Agoge's folder" in output


def test_a_folder_of_ones_own_needs_neither_recipes_nor_out(
    recipes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.cli.adapter_train.find_spec", lambda package: None)
    code, output = run(str(recipes / "mind"))
    assert code == 1
    assert "training needs torch" in output  # everything before that was in order


def test_a_base_that_the_recipe_does_not_name_is_refused(recipes: Path) -> None:
    code, output = run(str(recipes / "mind"), "--base", str(recipes))
    assert code == 1
    assert 'write base = "owner/name", the same as in the policy' in output


def test_texts_are_read_before_anything_is_loaded(recipes: Path) -> None:
    (recipes / "mind" / "texts.jsonl").write_text("{")
    code, output = run("--all", "--recipes", str(recipes), "--out", str(recipes / "out"))
    assert code == 1
    assert "texts.jsonl:1: expected lang" in output


def test_a_name_needs_a_place(recipes: Path) -> None:
    code, output = run("mind", "--recipes", str(recipes))
    assert code == 2
    assert "say where the adapters go: --out FOLDER" in output


def test_check_of_an_untrained_folder_says_how_to_train_it(recipes: Path) -> None:
    result = CliRunner().invoke(command, ["check", str(recipes / "mind")])
    assert result.exit_code == 1
    assert "train it first: agoge adapter train" in result.output


def test_check_without_its_packages_names_the_extra(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.cli.adapter_check.find_spec", lambda package: None)
    result = CliRunner().invoke(command, ["check", str(recipes / "mind")])
    assert result.exit_code == 1
    assert "pip install -e '.[train]'" in result.output


def test_the_verb_does_not_load_torch() -> None:
    code = (
        "import sys, router.cli.adapter_train, router.cli.adapter_check, blends.train\n"
        "print({'torch', 'peft', 'gguf'} & sys.modules.keys())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
