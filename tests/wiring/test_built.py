"""Built blends in force (`--blends`), engines that list what they hold, several replicas behind one address."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from blends.manifest import FILE, Entry, Manifest, Part, write_manifest
from blends.reference import Line, Reference, write_reference
from router.backends.timeouts import Timeouts
from router.caches.memory import MemoryCache
from router.canary.proven import Proven
from router.core.blend import Blend
from router.core.check import BACKEND
from router.core.errors import PolicyInvalid
from router.core.policy import Policies
from router.core.reachable import reachable
from router.core.reply import Inventory
from router.policy_file import load_policies
from router.replicas import Replicas
from router.service import Router
from router.wiring.addresses import Address, addresses
from router.wiring.backends import open_backend, open_drivers
from router.wiring.reload import Loader, PolicyWatch
from router.wiring.settings import Settings, SettingsInvalid
from tests.stage import SECRET
from tests.stubs import POLICY, Facts, SpeakingBackend, WordScorer, until, write_policy

HTTP = ("tgi+http://h", "vllm+http://h", "sglang+http://h", "hub:https://h")


@pytest.fixture
def policies(tmp_path: Path) -> Policies:
    return load_policies(write_policy(tmp_path))


def entry(blend: Blend, digest: str) -> Entry:
    members = tuple(Part(name, weight, f"./{name}", "0" * 64) for name, weight in blend.members)
    served = "+".join(name for name, _ in blend.members) + f"-{digest}"
    return Entry(
        blend.id, served, members, "some/base", blend.alone, "exact", 0.0, 8, 8, ("q_proj",), 1, 1, 1, "0" * 64
    )


def build(folder: Path, policies: Policies, digest: str = "0123456789ab") -> dict[str, str]:
    """Write the manifest of everything that the policy reaches; return blend id -> served name."""
    entries = tuple(entry(blend, digest) for blend in reachable(policies.profiles["default", None]))
    folder.mkdir(exist_ok=True)
    write_manifest(folder, Manifest(entries))
    return {each.blend: each.served for each in entries}


def settings(folder: Path, spec: str, **more: Any) -> Settings:
    return Settings(policy=folder / "policy.yaml", backends={"first": spec, "second": "litellm:x/y"}, **more)


@pytest.mark.parametrize("spec", HTTP)
async def test_built_blends_are_what_an_http_engine_may_serve(
    tmp_path: Path, policies: Policies, spec: str
) -> None:
    served = build(tmp_path / "built", policies)
    held = {"LORA_ADAPTERS": ",".join(["core=/raw/core", *(f"{name}=/built/{name}" for name in served.values())])}
    made = settings(tmp_path, spec, blends=tmp_path / "built", environment=held)
    found = addresses(policies, made)
    assert dict(found["first"].published or ()) == served
    assert found["second"].published is None, "a stand-in holds none of our blends"
    (backend,) = [cast(Any, each) for each in (await open_drivers(found["first"], policies, made)).values()]
    if spec.startswith(("tgi", "hub")):  # the others are asked what they hold
        assert backend._inventory == Inventory(published=served), "no bare name counts any more"
    else:
        assert backend._published == served
    await backend.aclose()


@pytest.mark.parametrize("spec", HTTP)
async def test_without_a_manifest_nothing_is_published(tmp_path: Path, policies: Policies, spec: str) -> None:
    made = settings(tmp_path, spec, environment={"LORA_ADAPTERS": "core=/raw/core"})
    address = addresses(policies, made)["first"]
    assert address.published is None
    (backend,) = [cast(Any, each) for each in (await open_drivers(address, policies, made)).values()]
    if spec.startswith(("tgi", "hub")):
        assert backend._inventory == Inventory(names=frozenset({"core"}))
    await backend.aclose()


@pytest.mark.parametrize(("text", "says"), [(None, "agoge blends build"), ("{", "cannot be read")])
def test_a_manifest_that_is_not_there_or_damaged(
    tmp_path: Path, policies: Policies, text: str | None, says: str
) -> None:
    (tmp_path / "built").mkdir()
    if text is not None:
        (tmp_path / "built" / FILE).write_text(text)
    with pytest.raises(SettingsInvalid, match=says) as caught:
        addresses(policies, settings(tmp_path, "vllm+http://h", blends=tmp_path / "built"))
    assert str(caught.value).startswith("--blends: ")


def test_a_rebuilt_blend_is_another_engine(tmp_path: Path, policies: Policies) -> None:
    made = settings(tmp_path, "vllm+http://h", blends=tmp_path / "built")
    build(tmp_path / "built", policies)
    before = addresses(policies, made)
    assert addresses(policies, made) == before
    build(tmp_path / "built", policies, "ba9876543210")
    after = addresses(policies, made)
    assert after["first"] != before["first"]
    assert after["second"] == before["second"]


async def test_a_new_build_is_taken_up_while_it_runs(tmp_path: Path, policies: Policies) -> None:
    opened: list[Address] = []

    async def opener(address: Address, policies: Policies, settings: Settings) -> SpeakingBackend:
        opened.append(address)
        return SpeakingBackend()

    old = build(tmp_path / "built", policies)
    made = settings(tmp_path, "vllm+http://h", blends=tmp_path / "built", reload_seconds=0.02)
    facts, scorer = Facts(), WordScorer()
    loader = Loader(made, scorer, facts.record, opener)
    router = Router(await loader.load(), scorer, MemoryCache(), SECRET, (facts,))
    watch = PolicyWatch(router, loader, made)
    running = asyncio.create_task(watch.run())
    new = build(tmp_path / "built", policies, "ba9876543210")
    await until(lambda: len(opened) == 3)
    assert [dict(each.published or ()) for each in opened if each.name == "first"] == [old, new]
    (tmp_path / "built" / FILE).unlink()
    await until(lambda: watch.trouble)
    assert "agoge blends build" in str(watch.trouble), "the last good build stays in force, and readiness says so"
    running.cancel()
    await watch.aclose()
    await router.state.fleet.aclose()


# Several hosts.


@pytest.mark.parametrize("engine", ["tgi", "vllm", "sglang", "llamacpp"])
async def test_several_hosts_are_replicas_of_one_backend(policies: Policies, engine: str) -> None:
    query = "?names=core&first_token=9" if engine == "tgi" else "?first_token=9&api_key_env=KEY"
    spec = f"{engine}+https://h1:8000,h2:8001/prefix{query}"
    assert BACKEND.fullmatch(spec), "a policy may write it where it names a backend"
    made = Settings(environment={"KEY": "k"})
    drivers: dict[str, Any] = {**await open_drivers(Address("primary", spec), policies, made)}
    assert {name: driver._engine._base_url for name, driver in drivers.items()} == {
        "primary#1": "https://h1:8000/prefix",
        "primary#2": "https://h2:8001/prefix",
    }
    assert {driver.name for driver in drivers.values()} == set(drivers)
    for driver in drivers.values():
        assert driver._engine.timeouts == Timeouts(first_token=9)
    backend = await open_backend(Address("primary", spec), policies, made)
    assert isinstance(backend, Replicas)
    assert (backend.name, set(backend.replicas)) == ("primary", {"primary#1", "primary#2"})
    await backend.aclose()


async def test_one_host_bears_the_name_of_its_backend(policies: Policies) -> None:
    backend = await open_backend(Address("primary", "vllm+http://h:1"), policies, Settings())
    assert isinstance(backend, Replicas)
    assert (backend.name, set(backend.replicas)) == ("primary", {"primary"})
    await backend.aclose()


@pytest.mark.parametrize(
    ("spec", "every", "scale"),
    [
        ("vllm+http://h", 300.0, 0.05),
        ("sglang+http://h?canary=60", 60.0, 0.05),
        ("tgi+http://h?names=core&canary_scale=0.1", 300.0, 0.1),
        ("llamacpp+http://h1:1,h2:2?canary=off", None, None),
        ("hub:https://h?names=core", 300.0, 0.05),
        ("litellm:openai/gpt-x", None, None),
    ],
)
async def test_every_engine_that_shows_logprobs_has_to_prove_itself(
    policies: Policies, spec: str, every: float | None, scale: float | None
) -> None:
    backend = await open_backend(Address("primary", spec), policies, Settings())
    assert isinstance(backend, Replicas)
    for each in backend.replicas.values():
        if every is None:
            assert not isinstance(each, Proven)
        else:
            assert isinstance(each, Proven)
            manner = each._manner
            assert (manner.every, manner.at_once, manner.limits.scale) == (every, False, scale)
    await backend.aclose()


async def test_what_peft_says_is_read_beside_the_manifest(tmp_path: Path, policies: Policies) -> None:
    build(tmp_path / "built", policies)
    said = Reference({"core-1": (Line("The sky", (" is",), (-0.5,)),)}, (Line("The sky", (" was",), (-1.5,)),))
    write_reference(tmp_path / "built", said)
    made = settings(tmp_path, "vllm+http://h", blends=tmp_path / "built")
    backend = await open_backend(addresses(policies, made)["first"], policies, made)
    assert isinstance(backend, Replicas)
    (proven,) = backend.replicas.values()
    assert isinstance(proven, Proven)
    assert [(line.tokens, line.logprobs) for line in proven._reference["core-1"]] == [((" is",), (-0.5,))]
    assert [line.tokens for line in proven._base_reference] == [(" was",)]
    await backend.aclose()
    (tmp_path / "built" / "reference.json").write_text("{", "utf-8")
    with pytest.raises(SettingsInvalid, match=r"reference\.json"):
        await open_backend(addresses(policies, made)["first"], policies, made)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("vllm+http://h1:1,h1:1", "twice, or none"),
        ("vllm+http://h1:1,", "twice, or none"),
        ("vllm+http://", "is not the root of a server"),
        ("vllm+http://a,b:c@h", "holds a password"),
        ("vllm+http://h/v1", "ends in /v1"),
        ("vllm+http://h?names=core", "an option 'names'; it may have api_key_env"),
        ("vllm+http://h?canary=often", "canary is 'often'; write seconds, canary=300, or canary=off"),
        ("vllm+http://h?canary=0", "canary is '0'; write seconds"),
        ("vllm+http://h?canary_scale=inf", "canary_scale is 'inf'; write canary_scale=0.05"),
        ("litellm:openai/gpt-x?canary=off", "an option 'canary'"),
        ("sglang+ftp://h", "is no address"),
        ("llamacpp+http://h?files=core", "is no published file"),
        ("llamacpp+http://h?files=core-0123456789ab,core-ba9876543210", "two files are named"),
        ("llamacpp+http://h?files=", "files is empty"),
    ],
)
async def test_a_wrong_address_says_what_would_be_right(policies: Policies, spec: str, says: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        await open_backend(Address("primary", spec), policies, Settings())
    assert says in str(caught.value)


async def test_the_published_files_of_llamacpp_may_be_named(policies: Policies) -> None:
    spec = "llamacpp+http://h?files=core-0123456789ab.gguf,physics-ba9876543210"
    drivers = await open_drivers(Address("primary", spec), policies, Settings())
    backend = cast(Any, drivers["primary"])
    assert backend._expected == {"core": "core-0123456789ab", "physics": "physics-ba9876543210"}


# Two meanings of one name.

TENANT = """
tenants:
  acme: { PATCH }
"""


@pytest.mark.parametrize("kind", ["vllm+http://h", "sglang+http://h", "llamacpp+http://h"])
def test_an_engine_that_lists_its_adapters_may_hold_any_name(tmp_path: Path, kind: str) -> None:
    text = POLICY + TENANT.replace("PATCH", "adapters: { academic: { from: ./theirs } }")
    policies = load_policies(write_policy(tmp_path, text))
    made = Settings(policy=tmp_path / "policy.yaml", backends=dict.fromkeys(("first", "second"), kind))
    with pytest.raises(PolicyInvalid, match="holds one 'academic', but two profiles take it from"):
        addresses(policies, made)
    if not kind.startswith("llamacpp"):
        build(tmp_path / "built", policies)
        by_content = Settings(policy=made.policy, backends=made.backends, blends=tmp_path / "built")
        assert set(addresses(policies, by_content)) == {"first", "second"}, "built blends are told apart"


@pytest.mark.parametrize("weight", ["weight: 0.8", "weight: 1.0"])
def test_a_sum_takes_an_adapter_by_its_name_at_any_weight(tmp_path: Path, weight: str) -> None:
    text = POLICY + TENANT.replace("PATCH", f"adapters: {{ physics: {{ from: ./theirs, {weight} }} }}")
    policies = load_policies(write_policy(tmp_path, text))
    with pytest.raises(PolicyInvalid, match="holds one 'physics'"):
        addresses(policies, Settings(backends=dict.fromkeys(("first", "second"), "llamacpp+http://h")))


def test_llamacpp_runs_one_base(tmp_path: Path) -> None:
    policies = load_policies(write_policy(tmp_path, POLICY + TENANT.replace("PATCH", "base: another/base")))
    with pytest.raises(PolicyInvalid, match="runs one base model, not 'another/base' and 'some/base'"):
        addresses(policies, Settings(backends=dict.fromkeys(("first", "second"), "llamacpp+http://h")))
