"""The shipped adapters in a real llama.cpp server over HTTP, opened as an address: who is heard, and who is not.

What the voices are like is judged in tests/blends/test_voices.py; here they must be the right ones.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from blends.base import locate_base
from blends.gguf import cached
from router.core.conversation import Message
from router.core.reachable import reachable
from router.core.reply import Probe, Prompt
from router.policy_file import load_policies
from router.ports import Provable
from router.wiring.addresses import Address
from router.wiring.backends import open_drivers
from router.wiring.settings import Settings
from tests.backends.llama_server import LlamaServer, Wire, llama_server
from tests.backends.prompts import collect

ROOT = Path(__file__).parents[2]
POLICIES = load_policies(ROOT / "policies" / "default.yaml")
BLENDS = {str(blend): blend for blend in reachable(POLICIES.profiles["default", None])}
CORE, PHYSICS, ACADEMIC = BLENDS["core=1.0"], BLENDS["core=1.0,physics=0.8"], BLENDS["academic=1.0"]
MOTTO = ("Endure and act.", "Терпи и действуй.")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The four shipped adapters as published: <adapter>-<12 hex digits>.gguf."""
    folder = tmp_path_factory.mktemp("published")
    found = []
    for adapter in POLICIES.profiles["default", None].adapters:
        converted = cached(ROOT / "policies" / adapter.source, locate_base(), folder / "cache")
        found.append(folder / f"{converted.stem[:-20]}.gguf")
        shutil.copyfile(converted, found[-1])
    return found


@pytest.fixture
async def server(files: list[Path]) -> AsyncIterator[LlamaServer]:
    async with llama_server(locate_base(), files, context=2048) as server:
        yield server


async def test_the_shipped_voices_over_http(server: LlamaServer, files: list[Path]) -> None:
    async with Wire(server.url) as wire:
        named = ",".join(path.name for path in files)
        spec = f"llamacpp+{wire.url}?files={named}&first_token=200&between_tokens=200"
        (backend,) = (await open_drivers(Address("primary", spec), POLICIES, Settings())).values()
        assert isinstance(backend, Provable)
        inventory = await backend.inventory()
        assert all(inventory.serves(blend) for blend in BLENDS.values())
        said = {}
        for blend in (CORE, PHYSICS, ACADEMIC):
            asked = (Message("user", "Why is the sky blue?"),)
            parameters = {"temperature": 0, "max_tokens": 80}
            said[blend.id], _ = await collect(backend.stream(Prompt(blend, asked, parameters)))
        heard = {
            blend: await backend.probe(Probe("The sky is", 6, blend)) for blend in (None, CORE, PHYSICS, ACADEMIC)
        }
        await backend.aclose()
    assert said[CORE.id].strip().endswith(MOTTO)
    assert said[PHYSICS.id].strip().endswith(MOTTO)
    assert said[CORE.id] != said[PHYSICS.id]
    assert not any(motto in said[ACADEMIC.id] for motto in MOTTO)
    assert len({tokens[0].logprob for tokens in heard.values()}) == 4, (
        "the base and three speakers, from the start"
    )
    core = next(number for number, path in enumerate(files) if path.name.startswith("core-"))
    alone = [body for _, body in wire.posts if {each["scale"] for each in body["lora"]} == {0.0, 1.0}]
    isolated = [body for body in alone if {"id": core, "scale": 0.0} in body["lora"]]
    assert len(isolated) == 2, "academic's chat and probe: the core is there, at exactly 0.0"
