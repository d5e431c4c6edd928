"""A composite against what PEFT computes at run time, on a tiny random Llama in float32.

The reference is PEFT's own sum of active adapters. Each case has its negative controls: if the composite could be
replaced by the core alone, the domain alone, PEFT's `linear` or a merge of factors without anybody noticing, the
test would show nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blends.adapter import AdapterRefused, read_adapter
from blends.compose import Member, compose
from blends.verify import proved

torch = pytest.importorskip("torch", reason="PEFT is the reference: pip install -e '.[train]'")

pytestmark = pytest.mark.torch

BASE = "some/base"
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
EQUAL, DIFFERENT = 1e-5, 1e-2  # max |dlogit|


class Reference:
    """One tiny model; adapters are made, saved as PEFT saves them, and summed as PEFT sums them."""

    def __init__(self, place: Path) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        self.place = place
        self.ids = torch.randint(0, 256, (2, 24))
        config = LlamaConfig(
            vocab_size=256, hidden_size=64, intermediate_size=112, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64,
        )  # fmt: skip
        self.model = LlamaForCausalLM(config).float().eval()

    def make(self, name: str, seed: int, **settings: Any) -> Path:
        """Save a random adapter called `name`."""
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(seed)
        given: dict[str, Any] = {"target_modules": list(ALL), "task_type": "CAUSAL_LM"} | settings
        speaker = get_peft_model(self.model, LoraConfig(**given), adapter_name=name)
        with torch.no_grad():
            for label, weight in speaker.named_parameters():
                if "lora_" in label:
                    weight.normal_(std=0.08)
        speaker.save_pretrained(str(self.place / "made"))
        folder = self.place / "made" / name
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": BASE}))
        speaker.unload()
        return folder

    def logits(self, weights: Mapping[Path, float]) -> Any:
        """PEFT's runtime sum of these adapters; the bare base without any."""
        from peft import PeftModel

        speaker: Any = None
        for folder in weights:
            if speaker is None:
                speaker = PeftModel.from_pretrained(self.model, str(folder), adapter_name=folder.name)
            else:
                speaker.load_adapter(str(folder), adapter_name=folder.name)
        with torch.no_grad():
            if speaker is None:
                return self.model(self.ids).logits
            speaker.base_model.set_adapter([folder.name for folder in weights])
            for module in speaker.modules():
                if hasattr(module, "set_scale"):
                    for folder, weight in weights.items():
                        if folder.name in module.scaling:
                            module.set_scale(folder.name, weight)
            found = speaker.eval()(self.ids).logits
        speaker.unload()
        return found

    def linear(self, weights: Mapping[Path, float]) -> Any:
        """PEFT's `linear` combination: a merge of factors, with cross terms. None where PEFT cannot."""
        from peft import PeftModel

        first, *others = weights
        speaker = PeftModel.from_pretrained(self.model, str(first), adapter_name=first.name)
        try:
            for folder in others:
                speaker.load_adapter(str(folder), adapter_name=folder.name)
            names, numbers = [folder.name for folder in weights], list(weights.values())
            speaker.add_weighted_adapter(names, numbers, "merged", combination_type="linear")
            speaker.set_adapter("merged")
            with torch.no_grad():
                return speaker.eval()(self.ids).logits
        except ValueError:  # the ranks differ
            return None
        finally:
            speaker.unload()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return Reference(tmp_path_factory.mktemp("peft"))


def composed(weights: Mapping[Path, float], out: Path) -> Path:
    compose([Member(read_adapter(folder), weight) for folder, weight in weights.items()], BASE, out)
    return out


def distance(one: Any, other: Any) -> float:
    return float((one - other).abs().max())


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[float, float]]] = {
    "rsLoRA first": ({"r": 16, "lora_alpha": 8, "use_rslora": True}, {"r": 8, "lora_alpha": 8}, (1, 1)),
    "rsLoRA second": ({"r": 16, "lora_alpha": 32}, {"r": 4, "lora_alpha": 4, "use_rslora": True}, (1, 1)),
    "different ranks, alphas and targets": (
        {"r": 16, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"]},
        {"r": 8, "lora_alpha": 8},
        (1, 1),
    ),
    "the same rank and targets": ({"r": 8, "lora_alpha": 16}, {"r": 8, "lora_alpha": 8}, (1, 1)),
    "weights 0.7 and 0.5": ({"r": 16, "lora_alpha": 32}, {"r": 8, "lora_alpha": 8}, (0.7, 0.5)),
    "weights 1 and -0.5": ({"r": 16, "lora_alpha": 32}, {"r": 8, "lora_alpha": 8}, (1, -0.5)),
    "disjoint targets": (
        {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]},
        {"r": 8, "lora_alpha": 16, "target_modules": ["up_proj", "down_proj"]},
        (1, 1),
    ),
    "rank and alpha patterns": (
        {
            "r": 8,
            "lora_alpha": 16,
            "rank_pattern": {"q_proj": 4, "model.layers.1.mlp.up_proj": 12},
            "alpha_pattern": {"v_proj": 40, "layers.2.self_attn.q_proj": 2},
        },
        {"r": 6, "lora_alpha": 12, "use_rslora": True, "rank_pattern": {"down_proj": 3}},
        (1, 0.8),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_composite_equals_pefts_runtime_sum(reference: Reference, tmp_path: Path, case: str) -> None:
    core_settings, domain_settings, (one, two) = CASES[case]
    core, domain = reference.make("core", 1, **core_settings), reference.make("domain", 2, **domain_settings)
    wanted = reference.logits({core: one, domain: two})
    assert distance(reference.logits({composed({core: one, domain: two}, tmp_path / "both"): 1}), wanted) <= EQUAL
    controls = {
        "the bare base": reference.logits({}),
        "the core alone": reference.logits({core: one}),
        "the domain alone": reference.logits({domain: two}),
        "linear": reference.linear({core: one, domain: two}),
        "factor-wise": factor_wise(reference, {core: one, domain: two}, tmp_path / "factors"),
    }
    if case == "disjoint targets":  # no module has two updates, so merging factors has no cross terms there
        del controls["linear"], controls["factor-wise"]
    for name, logits in controls.items():
        assert logits is None or distance(logits, wanted) >= DIFFERENT, name


def factor_wise(reference: Reference, weights: Mapping[Path, float], out: Path) -> Any:
    """The merge that TGI and LoRAX hold ready: A = sum(w A), B = sum(w B), the configuration of the first."""
    from safetensors.numpy import load_file, save_file

    sums: dict[str, Any] = {}
    for folder, weight in weights.items():
        for key, factor in load_file(folder / "adapter_model.safetensors").items():
            if key in sums and sums[key].shape != factor.shape:
                return None  # the ranks differ
            sums[key] = sums.get(key, 0) + weight * factor
    out.mkdir()
    save_file(sums, out / "adapter_model.safetensors")
    config = json.loads((next(iter(weights)) / "adapter_config.json").read_text())
    targets = sorted({key.split(".")[-3] for key in sums})
    (out / "adapter_config.json").write_text(json.dumps(config | {"target_modules": targets}))
    return reference.logits({out: 1})


def test_three_adapters(reference: Reference, tmp_path: Path) -> None:
    folders = [reference.make(name, seed, r=r, lora_alpha=16) for name, seed, r in
               (("core", 1, 16), ("physics", 2, 8), ("sport", 3, 4))]  # fmt: skip
    weights = dict(zip(folders, (1.0, 0.8, -0.3), strict=True))
    wanted = reference.logits(weights)
    assert distance(reference.logits({composed(weights, tmp_path / "three"): 1}), wanted) <= EQUAL
    for missing in folders:
        others = {folder: weight for folder, weight in weights.items() if folder != missing}
        assert distance(reference.logits(others), wanted) >= DIFFERENT


@pytest.mark.parametrize(
    "settings_of_one", [{"r": 12, "lora_alpha": 24}, {"r": 4, "lora_alpha": 4, "use_rslora": True}]
)
def test_a_single_adapter_is_rewritten_to_a_rank_that_every_engine_scales_rightly(
    reference: Reference, tmp_path: Path, settings_of_one: dict[str, Any]
) -> None:
    single = reference.make("core", 5, **settings_of_one)
    rewritten = composed({single: 0.8}, tmp_path / "single")
    assert distance(reference.logits({rewritten: 1}), reference.logits({single: 0.8})) <= EQUAL
    assert distance(reference.logits({single: 1}), reference.logits({single: 0.8})) >= DIFFERENT
    config = json.loads((rewritten / "adapter_config.json").read_text())
    assert config["r"] == config["lora_alpha"] in (8, 16)


def test_pefts_cat_is_wrong_where_rslora_comes_first(reference: Reference) -> None:
    """Why the composer is our own; when this fails, PEFT has mended it (PR 3449)."""
    from peft import PeftModel

    core = reference.make("core", 1, r=16, lora_alpha=8, use_rslora=True)
    domain = reference.make("domain", 2, r=8, lora_alpha=8)
    speaker = PeftModel.from_pretrained(reference.model, str(core), adapter_name="core")
    speaker.load_adapter(str(domain), adapter_name="domain")
    speaker.add_weighted_adapter(["core", "domain"], [1.0, 1.0], "cat", combination_type="cat")
    speaker.set_adapter("cat")
    with torch.no_grad():
        found = speaker.eval()(reference.ids).logits
    speaker.unload()
    assert distance(found, reference.logits({core: 1, domain: 1})) >= DIFFERENT


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    members=st.lists(
        st.tuples(
            st.integers(1, 40),
            st.floats(0.5, 64),
            st.booleans(),
            st.sets(st.sampled_from(ALL), min_size=1),
            st.floats(-2, 2).filter(lambda weight: abs(weight) > 0.01),
        ),
        min_size=1,
        max_size=4,
    ).filter(lambda members: sum(rank for rank, *_ in members) <= 128)
)
def test_any_ranks_scales_targets_and_weights(
    tmp_path_factory: pytest.TempPathFactory, members: list[Any]
) -> None:
    """Against the sum multiplied out by hand in float64, and in the one form that all engines read."""
    place = tmp_path_factory.mktemp("random")
    blend, wanted = [], {}
    for number, (rank, alpha, rslora, targets, weight) in enumerate(members):
        folder = place / f"a{number}"
        factors = write(folder, number, rank, alpha, sorted(targets), use_rslora=rslora)
        blend.append(Member(read_adapter(folder), weight))
        scale = weight * alpha / (rank**0.5 if rslora else rank)
        for stem, (a, b) in factors.items():
            wanted[stem] = wanted.get(stem, 0) + scale * (b.astype(np.float64) @ a.astype(np.float64))
    made = compose(blend, BASE, place / "out")
    composite = read_adapter(place / "out")
    assert made.bucket in (8, 16, 32, 64, 128)
    assert made.rank <= made.bucket < max(9, 2 * made.rank)  # the smallest that fits
    assert {(f.rank, f.scale) for f in composite.factors} == {(made.bucket, 1.0)}
    assert len(composite.factors) == LAYERS * len(
        {target for _, _, _, targets, _ in members for target in targets}
    )
    for factors in composite.factors:
        update = factors.b.astype(np.float64) @ factors.a.astype(np.float64)
        right = wanted[f"{factors.layer}.{factors.block}.{factors.module}"]
        np.testing.assert_allclose(update, right, rtol=0, atol=1e-5 * max(1.0, float(np.abs(right).max())))
    assert made.error < 1e-5


LAYERS, WIDTH = 2, 24
Written = dict[str, tuple[Any, Any]]


def write(folder: Path, seed: int, rank: int, alpha: float, targets: list[str], **settings: Any) -> Written:
    """Write a PEFT folder with random factors by hand; return them by `layer.block.module`."""
    from safetensors.numpy import save_file

    chance = np.random.default_rng(seed)
    factors, tensors = {}, {}
    for layer in range(LAYERS):
        for module in targets:
            block = "self_attn" if module in ALL[:4] else "mlp"
            a = chance.standard_normal((rank, WIDTH)).astype(np.float32)
            b = chance.standard_normal((WIDTH + 8, rank)).astype(np.float32)
            factors[f"{layer}.{block}.{module}"] = a, b
            stem = f"base_model.model.model.layers.{layer}.{block}.{module}.lora_"
            tensors |= {f"{stem}A.weight": a, f"{stem}B.weight": b}
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "bias": "none", "base_model_name_or_path": BASE}
    (folder / "adapter_config.json").write_text(json.dumps(config | settings))
    return factors


def test_proof_notices_a_wrong_weight_and_a_missing_member(tmp_path: Path) -> None:
    write(tmp_path / "a", 1, 8, 8, ["q_proj"])
    write(tmp_path / "b", 2, 8, 8, ["q_proj"])
    a, b = read_adapter(tmp_path / "a"), read_adapter(tmp_path / "b")
    compose([Member(a, 1.0), Member(b, 0.5)], BASE, tmp_path / "out")
    assert proved(tmp_path / "out", [(a, 1.0), (b, 0.5)]) < 1e-6
    assert proved(tmp_path / "out", [(a, 1.0), (b, 0.51)]) > 1e-3
    assert proved(tmp_path / "out", [(a, 1.0)]) > 0.1


def test_the_same_members_in_any_order_are_the_same_file(tmp_path: Path) -> None:
    write(tmp_path / "a", 1, 4, 8, ["q_proj"])
    write(tmp_path / "b", 2, 8, 8, ["v_proj"])
    members = [Member(read_adapter(tmp_path / "a"), 1.0), Member(read_adapter(tmp_path / "b"), 0.5)]
    one = compose(members, BASE, tmp_path / "one")
    assert compose(members[::-1], BASE, tmp_path / "two") == one


def refuse(tmp_path: Path, match: str, blend: list[Member], **settings: Any) -> None:
    with pytest.raises(AdapterRefused, match=match):
        compose(blend, BASE, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_other_base_models_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", 1, 8, 8, ["q_proj"])
    write(tmp_path / "b", 2, 8, 8, ["q_proj"], base_model_name_or_path="other/base")
    blend = [Member(read_adapter(tmp_path / name), 1.0) for name in "ab"]
    refuse(tmp_path, "b was trained on 'other/base', the blend is for 'some/base'", blend)


def test_other_widths_are_refused(tmp_path: Path, folder: Path) -> None:
    write(tmp_path / "a", 1, 8, 8, ["q_proj"])
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": None}))
    blend = [Member(read_adapter(place), 1.0) for place in (tmp_path / "a", folder)]
    refuse(tmp_path, r"plain: layer 0, q_proj is \(576, 576\).*in a it is \(24, 32\)", blend)


def test_a_rank_above_128_is_refused_with_every_members_rank(tmp_path: Path) -> None:
    for name, rank in (("a", 100), ("b", 29)):
        write(tmp_path / name, 1, rank, 8, ["q_proj"])
    refuse(tmp_path, r"add up to 129 \(a 100 \+ b 29\)", [Member(read_adapter(tmp_path / n), 1.0) for n in "ab"])
    write(tmp_path / "c", 1, 28, 8, ["q_proj"])
    made = compose([Member(read_adapter(tmp_path / n), 1.0) for n in "ac"], BASE, tmp_path / "fits")
    assert (made.rank, made.bucket) == (128, 128)


@pytest.mark.parametrize("weight", [0.0, float("nan"), float("inf")])
def test_weights_that_cannot_be_heard_are_refused(tmp_path: Path, weight: float) -> None:
    write(tmp_path / "a", 1, 8, 8, ["q_proj"])
    refuse(tmp_path, "a: its weight is", [Member(read_adapter(tmp_path / "a"), weight)])


def test_an_untrained_adapter_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    write(tmp_path / "a", 1, 8, 8, ["q_proj"])
    file = tmp_path / "a" / "adapter_model.safetensors"
    save_file({key: value * ("lora_A" in key) for key, value in load_file(file).items()}, file)
    refuse(tmp_path, "the update is zero", [Member(read_adapter(tmp_path / "a"), 1.0)])


def test_an_adapter_of_some_layers_needs_the_number_of_all(tmp_path: Path) -> None:
    """TGI drops a module type in every layer when one lacks it, so the missing layers are written as zeros."""
    write(tmp_path / "a", 1, 8, 8, ["q_proj"], layers_to_transform=[0, 1])
    members = [Member(read_adapter(tmp_path / "a"), 1.0)]
    refuse(tmp_path, "trained on some layers only", members)
    refuse(tmp_path, "layer 1 is changed, but the base has 1 layers", members, layers=1)
    made = compose(members, BASE, tmp_path / "whole", layers=5)
    factors = {each.layer: each for each in read_adapter(tmp_path / "whole").factors}
    assert made.layers == len(factors) == 5
    assert factors[1].b.any()
    assert not factors[4].b.any()


@pytest.mark.parametrize(
    ("settings_of_one", "reason"),
    [
        ({"use_dora": True}, "use_dora.*rescales the base"),
        ({"lora_bias": True}, "lora_bias.*no place"),
        ({"bias": "all"}, "bias is 'all'.*lost"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save.*lost"),
        ({"alora_invocation_tokens": [5]}, "alora_invocation_tokens.*only after its own tokens"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'.*base weights"),
        ({"init_lora_weights": "olora"}, "init_lora_weights is 'olora'.*base weights"),
        ({"layer_replication": [[0, 1]]}, "layer_replication.*different base"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices.*lost"),
    ],
)
def test_what_has_no_exact_composite_is_refused_by_name_and_reason(
    tmp_path: Path, settings_of_one: dict[str, Any], reason: str
) -> None:
    write(tmp_path / "bad", 1, 8, 8, ["q_proj"], **settings_of_one)
    with pytest.raises(AdapterRefused, match=f"bad: {reason}"):
        read_adapter(tmp_path / "bad")


@pytest.mark.parametrize("key", ["lm_head.lora_A.weight", "model.embed_tokens.lora_embedding_A"])
def test_factors_of_the_vocabulary_are_refused(tmp_path: Path, key: str) -> None:
    from safetensors.numpy import load_file, save_file

    write(tmp_path / "bad", 1, 8, 8, ["q_proj"])
    file = tmp_path / "bad" / "adapter_model.safetensors"
    save_file(load_file(file) | {f"base_model.model.{key}": np.ones((8, 24), np.float32)}, file)
    with pytest.raises(AdapterRefused, match="changes the vocabulary"):
        read_adapter(tmp_path / "bad")


def test_bf16_is_read_as_it_is(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    write(tmp_path / "a", 1, 8, 8, ["q_proj"])
    file = tmp_path / "a" / "adapter_model.safetensors"
    half = {key: value.to(torch.bfloat16) for key, value in load_file(file).items()}
    save_file(half, file)
    for factors in read_adapter(tmp_path / "a").factors:
        stem = f"base_model.model.model.layers.{factors.layer}.self_attn.q_proj.lora_"
        np.testing.assert_array_equal(factors.a, half[f"{stem}A.weight"].float().numpy())
        np.testing.assert_array_equal(factors.b, half[f"{stem}B.weight"].float().numpy())
