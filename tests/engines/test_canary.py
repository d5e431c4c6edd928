"""The canary on a real vLLM: it passes what acts, and withdraws what an engine swears it holds but does not speak.

vLLM loads a folder of zeros, or of another adapter, with status 200 and lists it under the name that it was told.
No status, header or field gives that away; only what it says does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from tests.engines.conftest import PROVED, Say
from tests.engines.vllm_server import LIMITS, VllmServer
from tests.live import Agoge, serving

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"

Change = Callable[[str, NDArray[Any]], NDArray[Any]]


def settled(said: dict[str, Any]) -> bool:
    """Say whether nothing waits for the canary any more."""
    withdrawn = str(said["withdrawn"])
    return bool(said["withdrawn"]) and "being proved" not in withdrawn and "not proved yet" not in withdrawn


def test_every_blend_of_a_healthy_engine_is_proved(router: Agoge, vllm: VllmServer, figure: Say) -> None:
    assert router.ready()["withdrawn"] == {}
    facts = router.facts("CanaryFinished")
    assert facts
    assert all(fact["failed"] == {} and fact["trouble"] is None for fact in facts), facts
    assert facts[-1]["proven"] == len(vllm.held())
    proven, calls, seconds = (facts[0][name] for name in ("proven", "calls", "seconds"))
    figure(f"the canary proved {proven} blends by {calls} calls in {seconds:.0f} s")


@pytest.fixture
def broken(vllm: VllmServer, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Served names of which the engine now holds something else; name -> what the canary must say of it."""
    held = vllm.held()

    def named(start: str) -> str:
        (name,) = (each for each in held if each.rpartition("-")[0] == start)
        return name

    def copy(name: str, change: Change) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        tensors = {key: change(key, tensor) for key, tensor in load_file(Path(held[name]) / WEIGHTS).items()}
        save_file(tensors, folder / WEIGHTS)
        (folder / CONFIG).write_bytes((Path(held[name]) / CONFIG).read_bytes())
        return folder

    physics, sport, academic, core = map(named, ("core+physics", "core+sport", "academic", "core"))
    wrong = {
        physics: Path(held[sport]),
        academic: copy(academic, lambda key, tensor: np.zeros_like(tensor)),
        core: copy(core, lambda key, tensor: tensor * 2 if ".lora_B." in key else tensor),
    }
    for name, folder in wrong.items():
        vllm.unload(name)
        vllm.load(name, folder)
    yield {
        physics: "cannot be told from",
        sport: "cannot be told from",
        academic: "acts like the bare base model",
        core: "not what PEFT computes",
    }
    for name in wrong:
        vllm.unload(name)
        vllm.load(name, Path(held[name]))


def test_what_is_not_what_it_is_called_is_withdrawn_and_never_sent(
    broken: dict[str, str], vllm: VllmServer, policy: Path, built: Path, data: Path, say: Say, figure: Say
) -> None:
    """Another blend's folder, zeros, and twice the scale: vLLM lists each as what it should be."""
    published = json.loads((built / "blends.json").read_text("utf-8"))["blends"]
    ids = {entry["served"]: entry["blend"] for entry in published}
    say("Agoge starts on an engine with three wrong publications; the canary listens")
    options = ("--blends", str(built), "--backend", f"engine=vllm+{vllm.url}?{LIMITS}&canary=86400")
    with serving(policy, data, *options) as router:
        router.until("the proof", PROVED, settled)
        reasons = router.ready()["withdrawn"]["engine"]
        assert set(reasons) == {ids[name] for name in broken}, reasons
        for name, why in broken.items():
            assert why in reasons[ids[name]], (name, reasons)
        assert router.ready()["status"] == "unready"
        before = vllm.asked()
        for model in ("core+physics", "core+sport", "academic", "core"):
            refused = router.say(model, "Why is the sky blue?")
            assert refused.status_code == 503, refused.text
            assert refused.json()["error"]["code"] == "blend_unavailable"
        assert vllm.asked() == before
        assert router.say("core+physics+sport", "Why is the sky blue?", max_tokens=10).status_code == 200
        for name, served in ids.items():
            if served in reasons:
                figure(f"withdrawn, {name.rpartition('-')[0]}: {reasons[served]}")
