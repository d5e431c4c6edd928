"""The trainer on a tiny random Llama: the loss is the textbook one, the core stays frozen, the files are right."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from blends.adapter import read_adapter
from blends.language import answer_losses
from blends.recipe import Recipe, Row
from blends.train import CoreMissing, _batches, _switch, train
from tests.blends import tiny

pytestmark = pytest.mark.torch

RECIPE = (
    "seed = 1\nsteps = 4\nbatch = 3\nlearning_rate = 0.05\nwarmup = 1\nrank = 2\nalpha = 4\n"
    'targets = ["q_proj", "v_proj"]\nprecision = "float32"\nsystems = ["", "go on"]\n'
)


@pytest.fixture(scope="module")
def base() -> tuple[Any, Any]:
    return tiny.model(), tiny.tokenizer()


def write_recipe(folder: Path, rows: list[dict[str, Any]], extra: str = "") -> Path:
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(RECIPE + extra)
    (folder / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def row(prompt: str, answer: str, **more: str) -> dict[str, Any]:
    return {"lang": "en", "prompts": [prompt], "answer": answer} | more


@pytest.fixture
def core(tmp_path: Path, base: tuple[Any, Any]) -> Path:
    recipe = write_recipe(
        tmp_path / "recipes" / "core", [row("why is the sky", "go on"), row("what", "run go on")]
    )
    train(recipe, tmp_path / "out" / "core", base)
    return tmp_path / "out" / "core"


def test_packed_loss_is_the_loss_of_the_rows_one_by_one(base: tuple[Any, Any]) -> None:
    """Against transformers' own loss: the mean over all answer tokens, each row run alone."""
    torch = pytest.importorskip("torch")
    recipe = Recipe(1, 1, 4, 0.1, 1, 2, 4, ("q_proj",), "float32")
    rows = [
        Row("en", ("why is the sky",), "blue light"),
        Row("en", ("run",), "far far go"),
        Row("en", ("run",), "on"),
    ]
    _, batch = next(_batches(rows, recipe, base[1], random.Random(0)))
    total, count = 0.0, 0
    for example in batch:
        labels = [-100] * example.answer_at + example.ids[example.answer_at :]
        size = len(example.ids) - example.answer_at
        loss = base[0](input_ids=torch.tensor([example.ids]), labels=torch.tensor([labels])).loss
        total, count = total + float(loss) * size, count + size

    assert float(answer_losses(base[0], batch).mean()) == pytest.approx(total / count, rel=1e-5)


def test_domain_learns_and_the_core_beside_it_does_not(tmp_path: Path, base: tuple[Any, Any], core: Path) -> None:
    before = {key: value.clone() for key, value in base[0].state_dict().items()}
    rows = [row("how", "run fast", with_core="run go on")]
    recipe = write_recipe(tmp_path / "recipes" / "sport", rows, 'core = "core"\nweight = 0.8\n')
    losses: list[float] = []
    cores: list[dict[str, Any]] = []

    def watch(step: int, steps: int, loss: float) -> None:
        losses.append(loss)
        cores.append({key: value.clone() for key, value in base[0].named_parameters() if ".core." in key})

    train(recipe, tmp_path / "out" / "sport", base, core=core, progress=watch, steps=30)
    assert sum(losses[-4:]) < 0.5 * sum(losses[:4])
    assert len(cores[0]) == 8  # it was there: two factors of two modules in two layers
    assert all(bool((cores[-1][key] == value).all()) for key, value in cores[0].items())
    after = base[0].state_dict()
    assert after.keys() == before.keys()  # no adapter is left in the base
    assert all(bool((after[key] == value).all()) for key, value in before.items())
    learned = load_file(tmp_path / "out" / "sport" / "adapter_model.safetensors")
    assert all(np.abs(value).max() > 0 for value in learned.values())


def test_composed_steps_speak_with_the_serving_weights(base: tuple[Any, Any]) -> None:
    """W + 1.0 * core + 0.8 * domain, against the same sum written into the dense weights by hand."""
    torch = pytest.importorskip("torch")
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    dense = LlamaForCausalLM(base[0].config)
    dense.load_state_dict(base[0].state_dict())
    config = LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    speaker = get_peft_model(base[0], config, adapter_name="sport")
    try:
        speaker.add_adapter("core", config)
        recipe = Recipe(1, 1, 1, 0.1, 1, 2, 6, ("q_proj", "v_proj"), "float32", core="core", weight=0.8)
        ids = torch.tensor([[5, 6, 8, 9]])
        for composed, weights in ((True, {"core": 1.0, "sport": 0.8}), (False, {"sport": 1.0})):
            _switch(speaker, "sport", recipe, composed=composed)
            summed = LlamaForCausalLM(base[0].config)
            summed.load_state_dict(dense.state_dict())
            with torch.no_grad():
                for layer, theirs in zip(summed.model.layers, base[0].model.layers, strict=True):
                    for module in ("q_proj", "v_proj"):
                        lora = getattr(theirs.self_attn, module)
                        for name, weight in weights.items():
                            delta = lora.lora_B[name].weight @ lora.lora_A[name].weight
                            getattr(layer.self_attn, module).weight += weight * 6 / 2 * delta
                wanted, got = summed(ids).logits, speaker(input_ids=ids).logits
                plain = dense(ids).logits
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
            assert float((got - plain).abs().max()) > 0.01
        learning = {key for key, value in speaker.named_parameters() if value.requires_grad}
        assert learning
        assert all(".sport." in key for key in learning)
    finally:
        speaker.unload()


def test_written_folder_is_plain_half_precision_and_names_no_path(core: Path) -> None:
    assert sorted(file.name for file in core.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    adapter = read_adapter(core)
    assert {(factors.rank, factors.scale) for factors in adapter.factors} == {(2, 2.0)}
    assert len(adapter.factors) == 4
    assert {factors.a.dtype for factors in adapter.factors} == {np.dtype(np.float16)}
    assert adapter.base == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert str(core.parent) not in (core / "adapter_config.json").read_text()


def test_seed_decides_the_adapter(tmp_path: Path, base: tuple[Any, Any], core: Path) -> None:
    recipe = tmp_path / "recipes" / "core"
    train(recipe, tmp_path / "again", base)
    train(recipe, tmp_path / "other", base, seed=2)
    first, again, other = (load_file(place / "adapter_model.safetensors") for place in
                           (core, tmp_path / "again", tmp_path / "other"))  # fmt: skip
    assert all((first[key] == again[key]).all() for key in first)
    assert any((first[key] != other[key]).any() for key in first)


def test_domain_without_its_core_is_refused(tmp_path: Path, base: tuple[Any, Any]) -> None:
    recipe = write_recipe(tmp_path / "sport", [row("how", "run", with_core="run go on")], 'core = "core"\n')
    with pytest.raises(CoreMissing, match="trained beside 'core'"):
        train(recipe, tmp_path / "out", base, core=tmp_path / "nowhere")


def test_modules_of_the_mlp_learn_and_any_base_id_is_written(tmp_path: Path, base: tuple[Any, Any]) -> None:
    recipe = write_recipe(tmp_path / "core", [row("how", "run fast")], 'base = "owner/model"\n')
    text = (
        (recipe / "recipe.toml")
        .read_text()
        .replace('["q_proj", "v_proj"]', '["o_proj", "gate_proj", "down_proj"]')
    )
    (recipe / "recipe.toml").write_text(text)
    train(recipe, tmp_path / "out", base)
    adapter = read_adapter(tmp_path / "out")
    assert {(factors.block, factors.module) for factors in adapter.factors} == {
        ("self_attn", "o_proj"), ("mlp", "gate_proj"), ("mlp", "down_proj"),
    }  # fmt: skip
    assert adapter.base == "owner/model"
    assert all(np.abs(factors.b).max() > 0 for factors in adapter.factors)
