"""`agoge blends merge`: the merged model answers as the base with the blend's adapters active in peft."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from blends.manifest import read_manifest
from router.cli.main import command
from tests.blends import tiny

pytestmark = pytest.mark.torch

POLICY = """\
version: 1
base: tiny/base
adapters:
  core:    { from: ./core,    when: always }
  physics: { from: ./physics, when: { label: physics, at_least: 0.5 }, weight: 0.8 }
compose: { at_most: 1 }
backends: [primary]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="merging is an extra: pip install -e '.[train]'")
    place = tmp_path_factory.mktemp("merge")
    tiny.model().save_pretrained(str(place / "base"))
    tiny.tokenizer().save_pretrained(str(place / "base"))
    tiny.adapter(place / "core", 1)
    tiny.adapter(place / "physics", 2, rank=3, alpha=3, targets=("v_proj", "down_proj"))
    (place / "policy.yaml").write_text(POLICY)
    built = CliRunner().invoke(
        command, ["blends", "build", str(place / "policy.yaml"), "--out", str(place / "built"), "--jobs", "1"]
    )
    assert built.exit_code == 0, built.output
    return place


def merge(place: Path, blend: str, out: Path, *more: str) -> Result:
    args = ["blends", "merge", blend, "--base", str(place / "base"), "--out", str(out)]
    return CliRunner().invoke(command, [*args, "--blends", str(place / "built"), *more])


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])).logits


def test_the_merged_model_is_the_runtime_sum(place: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    result = merge(place, "core+physics", tmp_path / "merged", "--precision", "float32")
    assert result.exit_code == 0, result.output
    assert "core x 1 + physics x 0.8" in result.stdout
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template

    summed = PeftModel.from_pretrained(tiny.model(), str(place / "core"), adapter_name="core")
    summed.load_adapter(str(place / "physics"), adapter_name="physics")
    summed.base_model.set_adapter(["core", "physics"])
    for module in summed.modules():
        if isinstance(getattr(module, "scaling", None), dict) and "physics" in module.scaling:
            module.scaling["physics"] *= 0.8
    assert float((logits(merged) - logits(summed)).abs().max()) <= 1e-4
    assert float((logits(merged) - logits(tiny.model())).abs().max()) >= 1e-2  # and it is not the base


def test_a_name_may_be_the_policys_the_engines_or_its_beginning(place: Path, tmp_path: Path) -> None:
    entry = next(e for e in read_manifest(place / "built").entries if len(e.members) == 2)
    for number, name in enumerate((entry.blend, entry.served, entry.served[:-3], "core")):
        done = merge(place, name, tmp_path / str(number), "--json")
        assert done.exit_code == 0, name
        told = json.loads(done.stdout)
        assert (told["out"], told["precision"]) == (str(tmp_path / str(number)), "bfloat16")
        assert told["served"] == (entry.served if number < 3 else told["served"])


@pytest.mark.parametrize(
    ("name", "says"), [("nobody", "names no blend; there are core"), ("cor", "names several")]
)
def test_an_unclear_name_lists_what_there_is(place: Path, tmp_path: Path, name: str, says: str) -> None:
    result = merge(place, name, tmp_path / "merged")
    assert result.exit_code == 1
    assert says in result.stderr


def test_a_folder_that_is_in_use_is_not_written_over(place: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    assert merge(place, "core", tmp_path).exit_code == 1
    assert [item.name for item in tmp_path.iterdir()] == ["mine"]
