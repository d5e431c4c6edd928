"""The four shipped adapters in the real engine, and a small PEFT folder to damage."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from blends.base import locate_base
from blends.gguf import cached

ADAPTERS = Path(__file__).parents[2] / "policies" / "adapters"
NAMES = ("core", "physics", "sport", "academic")

Speak = Callable[..., str]


def start_engine(names: Sequence[str], cache: Path) -> Speak:
    """An engine that holds the adapters `names`; returns `ask(prompt, core=1.0, physics=0.8)`: greedy, 80 tokens.

    Every adapter starts at scale 0 and every request names every adapter: an adapter that a request does not name
    would speak with its start-up scale.
    """
    xllamacpp = pytest.importorskip("xllamacpp", reason="reading needs the engine: pip install -e '.[embedded]'")
    base = locate_base()
    parameters = xllamacpp.CommonParams()
    parameters.verbosity = -1
    parameters.model.path = str(base)
    parameters.n_ctx, parameters.n_parallel = 2048, 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.lora_adapters = [
        xllamacpp.CommonAdapterLoraInfo(str(cached(ADAPTERS / name, base, cache)), 0.0) for name in names
    ]
    server = xllamacpp.Server(parameters)

    def ask(prompt: str, **weights: float) -> str:
        unknown = weights.keys() - set(names)
        assert not unknown, unknown
        request = {
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0.0,
            "max_tokens": 80,
            "cache_prompt": False,
            "lora": [{"id": index, "scale": weights.get(name, 0.0)} for index, name in enumerate(names)],
        }
        reply: Any = server.handle_chat_completions(request)
        reply = json.loads(reply) if isinstance(reply, str) else reply
        return str(reply["choices"][0]["message"]["content"]).strip()

    return ask


@pytest.fixture(scope="session")
def ask_anew(tmp_path_factory: pytest.TempPathFactory) -> Speak:
    """The engine with all four adapters; every call generates."""
    return start_engine(NAMES, tmp_path_factory.mktemp("gguf"))


@pytest.fixture(scope="session")
def speak(ask_anew: Speak) -> Speak:
    """The same, but an answer that was already given in this session is not generated twice."""
    return functools.cache(ask_anew)


@pytest.fixture(scope="session")
def academic_only(tmp_path_factory: pytest.TempPathFactory) -> Speak:
    """An engine that has never seen the core: what isolated speech must be equal to."""
    return start_engine(["academic"], tmp_path_factory.mktemp("isolated"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plain rank-2 LoRA on layer 0 of SmolLM2-135M: q and v, random factors."""
    chance = np.random.default_rng(0)
    place = tmp_path / "plain"
    place.mkdir()
    tensors = {}
    for module, outputs in (("q_proj", 576), ("v_proj", 192)):
        stem = f"base_model.model.model.layers.0.self_attn.{module}"
        tensors[f"{stem}.lora_A.weight"] = chance.normal(size=(2, 576)).astype(np.float16)
        tensors[f"{stem}.lora_B.weight"] = chance.normal(size=(outputs, 2)).astype(np.float16)
    save_file(tensors, place / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "bias": "none", "base_model_name_or_path": "x"}
    (place / "adapter_config.json").write_text(json.dumps(config))
    return place
