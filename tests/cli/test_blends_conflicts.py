"""`agoge blends conflicts` in real files: the shipped adapters' geometry, the picture, what is lacking."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from router.cli.main import command

ROOT = Path(__file__).parents[2]


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(command, ["blends", "conflicts", *map(str, args)])


def test_the_shipped_pairs_are_listed_with_their_geometry() -> None:
    result = run(ROOT / "policies/default.yaml", "--no-behaviour")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines() if "+" in line and ":" not in line]
    assert [row[0] for row in rows] == ["core+physics", "core+sport", "physics+sport"]
    assert all(row[1:6] == ["-"] * 5 for row in rows)
    assert "core+physics: not measured: only geometry was asked for" in result.stdout
    assert "academic" not in result.stdout  # nobody speaks with it


def test_json_holds_every_layer_and_module() -> None:
    result = run(ROOT / "policies/default.yaml", "--no-behaviour", "--json")
    data = json.loads(result.stdout)
    first = data["pairs"][0]
    assert (first["pair"], first["conflict"], first["behaviour"]) == ("core+physics", None, None)
    assert first["members"][1] == {"name": "physics", "weight": 0.8, "source": "./adapters/physics"}
    modules = first["geometry"]["modules"]
    assert {(each["layer"], each["module"]) for each in modules} == {
        (layer, f"self_attn.{name}") for layer in range(30) for name in ("q_proj", "k_proj", "v_proj", "o_proj")
    }
    assert modules[0].keys() >= {"relative_norm", "cosine", "columns", "rows"}


def test_picture_has_a_row_for_every_pair(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the picture is an extra: pip install -e '.[report]'")
    out = tmp_path / "conflicts.png"
    result = run(ROOT / "policies/default.yaml", "--no-behaviour", "--png", out)
    assert result.exit_code == 0, result.output
    assert out.read_bytes().startswith(b"\x89PNG")
    width, height = (int.from_bytes(out.read_bytes()[at : at + 4], "big") for at in (16, 20))
    assert width == 13 * 130
    assert height == pytest.approx(130 * (1.2 + 0.55 * 3 + 3 * 2.1 + 0.6), abs=2)


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("router.cli.blends_conflicts.find_spec", lambda package: None)
    result = run("--png", tmp_path / "x.png")
    assert result.exit_code == 1
    assert "pip install -e '.[report]'" in result.output


def test_a_policy_of_single_adapters_has_no_conflict(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "version: 1\nbase: b\nadapters:\n  core: { from: ./core, when: always }\n"
        "compose: { at_most: 1 }\nbackends: [x]\n"
    )
    result = run(tmp_path / "p.yaml")
    assert result.exit_code == 0
    assert "no blend has two members" in result.output


def test_missing_adapter_and_bad_policy_leave_with_one(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "version: 1\nbase: b\nadapters:\n  core: { from: ./core, when: always }\n"
        "  sport: { from: ./sport, when: asked }\ncompose: { at_most: 1 }\nbackends: [x]\n"
    )
    result = run(tmp_path / "p.yaml")
    assert result.exit_code == 1
    assert "there is no folder" in result.output
    assert run(tmp_path / "nowhere.yaml").exit_code == 1


def test_the_verb_loads_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys, router.cli.blends_conflicts, blends.conflicts\n"
        "print({'torch', 'peft', 'transformers', 'matplotlib'} & sys.modules.keys())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
