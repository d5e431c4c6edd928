"""The runtime sum on a tiny random Llama, against dense weights that were summed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from blends.language import answer_losses, asked, encode
from blends.runtime import BaseUnusable, Runtime, load_base, merge, save_base
from tests.blends import tiny

pytestmark = pytest.mark.torch

TEXTS = [("why is the sky", "blue light"), ("run", "far far go"), ("how", "on")]
BOTH = {"core": 1.0, "keys": 0.7}  # "keys" is a name that peft itself cannot hold


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    pytest.importorskip("torch", reason="training is an extra: pip install -e '.[train]'")
    place = tmp_path_factory.mktemp("adapters")
    return {
        "core": tiny.adapter(place / "core", 1),
        "keys": tiny.adapter(place / "keys", 2, rank=3, alpha=3, targets=("v_proj", "down_proj")),
    }


@pytest.fixture(scope="module")
def runtime(folders: Mapping[str, Path]) -> Runtime:
    made = Runtime((tiny.model(), tiny.tokenizer()))
    for name, folder in folders.items():
        made.add(name, folder)
    return made


def dense(folders: Mapping[str, Path], weights: Mapping[str, float]) -> Any:
    """The base with w * alpha / r * B @ A written into its weights."""
    import torch

    summed = tiny.model()
    scales = {"core": 6 / 2, "keys": 3 / 3}
    state = summed.state_dict()
    for name, weight in weights.items():
        tensors = load_file(folders[name] / "adapter_model.safetensors")
        for key, a in tensors.items():
            if key.endswith("lora_A.weight"):
                b = tensors[key.replace("lora_A", "lora_B")]
                place = key.removeprefix("base_model.model.").replace("lora_A.", "")
                state[place] += torch.from_numpy(weight * scales[name] * (b @ a))
    summed.load_state_dict(state)
    return summed


def own_losses(model: Any) -> list[float]:
    """Transformers' own loss, each text run alone."""
    import torch

    tokenizer = tiny.tokenizer()
    found = []
    for prompt, answer in TEXTS:
        example = encode(tokenizer, "", prompt, answer)
        labels = [-100] * example.answer_at + example.ids[example.answer_at :]
        found.append(float(model(input_ids=torch.tensor([example.ids]), labels=torch.tensor([labels])).loss))
    return found


@pytest.mark.parametrize("weights", [{}, {"core": 1.0}, {"keys": -0.5}, BOTH])
def test_losses_are_those_of_the_summed_weights(
    runtime: Runtime, folders: Mapping[str, Path], weights: Mapping[str, float]
) -> None:
    assert runtime.losses(TEXTS, weights) == pytest.approx(own_losses(dense(folders, weights)), rel=1e-4)


def test_weights_matter(runtime: Runtime) -> None:
    seen = [runtime.losses(TEXTS, weights) for weights in ({}, {"core": 1.0}, {"core": 0.5}, BOTH)]
    for index, first in enumerate(seen):
        for second in seen[index + 1 :]:
            assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gemma2", "olmo2"])
def test_packed_or_padded_the_loss_is_the_model_s_own(kind: str) -> None:
    """The batch is packed into one sequence for some model types and padded for others."""
    torch = pytest.importorskip("torch")
    model, tokenizer = tiny.model(kind), tiny.tokenizer()
    batch = [encode(tokenizer, "go on", prompt, answer) for prompt, answer in TEXTS]
    with torch.inference_mode():
        found = answer_losses(model, batch)
        for example in batch:
            labels = [-100] * example.answer_at + example.ids[example.answer_at :]
            size = len(example.ids) - example.answer_at
            loss = model(input_ids=torch.tensor([example.ids]), labels=torch.tensor([labels])).loss
            assert float(found[:size].mean()) == pytest.approx(float(loss), rel=1e-4)
            found = found[size:]
    assert not len(found)


def test_continuation_is_greedy_and_its_logprobs_are_those_of_whole_passes(
    runtime: Runtime, folders: Mapping[str, Path]
) -> None:
    """Token by token with a cache, against one pass over the whole text through the dense weights."""
    torch = pytest.importorskip("torch")
    said = runtime.continued("why is the sky", BOTH, 6)
    assert len(said.tokens) == len(said.logprobs) > 0
    ids = tiny.tokenizer()("why is the sky")["input_ids"]
    start = len(ids)
    ids += [[*tiny.WORDS, "?"].index(token) for token in said.tokens]
    lines = torch.log_softmax(dense(folders, BOTH)(torch.tensor([ids])).logits[0], -1)
    for offset, logprob in enumerate(said.logprobs):
        line = lines[start + offset - 1]
        assert int(line.argmax()) == ids[start + offset]
        assert float(line.max()) == pytest.approx(logprob, abs=1e-4)


def test_answers_of_a_batch_are_the_answers_one_by_one(runtime: Runtime) -> None:
    prompts = [prompt for prompt, _ in TEXTS]
    together = runtime.answers(prompts, BOTH, 5)
    alone = [runtime.continued(asked(runtime.tokenizer, prompt), BOTH, 5).tokens for prompt in prompts]
    assert [text.split() for text in together] == [list(tokens) for tokens in alone]
    assert any(together)


def test_merge_is_the_runtime_sum(tmp_path: Path, folders: Mapping[str, Path], runtime: Runtime) -> None:
    source = tmp_path / "base"
    tiny.model().save_pretrained(str(source))
    tiny.tokenizer().save_pretrained(str(source))
    members = [("core", folders["core"], 1.0), ("keys", folders["keys"], 0.7)]
    out = merge(members, source, tmp_path / "merged", "float32")
    merged = Runtime.load(out)
    assert merged.losses(TEXTS, {}) == pytest.approx(runtime.losses(TEXTS, BOTH), rel=1e-4)
    with pytest.raises(FileExistsError, match="nothing is overwritten"):
        merge(members, source, out)


def test_saved_base_is_the_base_in_half_the_bytes(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    tiny.model().save_pretrained(str(tmp_path / "base"))
    tiny.tokenizer().save_pretrained(str(tmp_path / "base"))
    model, tokenizer = load_base(save_base(tmp_path / "out", tmp_path / "base"), "float32")
    assert tokenizer.chat_template == tiny.TEMPLATE
    for key, value in tiny.model().state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value.to(torch.bfloat16).float(), rtol=0, atol=0)
    assert '"dtype": "bfloat16"' in (tmp_path / "out" / "config.json").read_text()


def test_what_is_no_base_is_named(tmp_path: Path) -> None:
    with pytest.raises(BaseUnusable, match="expected a folder with config"):
        load_base(tmp_path, "float32")
    tiny.model().save_pretrained(str(tmp_path))
    mute = tiny.tokenizer()
    mute.chat_template = None
    mute.save_pretrained(str(tmp_path))
    with pytest.raises(BaseUnusable, match="no chat template"):
        load_base(tmp_path, "float32")


def test_unknown_and_doubled_adapters_are_named(runtime: Runtime, folders: Mapping[str, Path]) -> None:
    with pytest.raises(ValueError, match="no adapter chess here; there are core, keys"):
        runtime.losses(TEXTS, {"chess": 1.0})
    with pytest.raises(ValueError, match="core is loaded already"):
        runtime.add("core", folders["core"])
