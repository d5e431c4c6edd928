"""Addresses of backends: every form, its options, where its adapter names and its key come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blends.base import BASE_ID
from router.backends.timeouts import Timeouts
from router.core.errors import PolicyInvalid
from router.core.policy import Policies
from router.policy_file import load_policies
from router.wiring.addresses import Address, addresses
from router.wiring.backends import open_backend, open_drivers
from router.wiring.settings import Settings, SettingsInvalid
from tests.stubs import POLICY, write_policy

PAIR = "core+physics-0123456789ab"


@pytest.fixture
def policies(tmp_path: Path) -> Policies:
    return load_policies(write_policy(tmp_path))


def made(**environment: str) -> Settings:
    return Settings(environment=environment)


@pytest.mark.parametrize(
    ("spec", "environment", "names"),
    [
        ("tgi+http://h:80?names=core,academic", {}, {"core", "academic"}),
        (f"tgi+http://h:80?names=core,{PAIR}", {}, {"core", PAIR}),
        (f"tgi+https://h?names={PAIR.replace('+', '%2B')}", {}, {PAIR}),
        ("tgi+http://h/prefix?names= core , academic ", {}, {"core", "academic"}),
        ("tgi+http://h", {"LORA_ADAPTERS": f"core=/a/core,{PAIR}=/a/pair"}, {"core", PAIR}),
        ("tgi+http://h?names=core", {"LORA_ADAPTERS": "other=/a"}, {"core"}),
        ("tgi+http://h?names=core&api_key_env=KEY", {"KEY": "k"}, {"core"}),
        ("hub:https://x.endpoints.huggingface.cloud?names=core&api_key_env=HF", {"HF": "k"}, {"core"}),
        ("hub:https://x", {"LORA_ADAPTERS": "core=/a/core"}, {"core"}),
        (f"litellm:openai/{{blend}}?names=core,{PAIR}&api_base=http://h/v1", {}, {"core", PAIR}),
    ],
)
async def test_what_an_address_serves(
    policies: Policies, spec: str, environment: dict[str, str], names: set[str]
) -> None:
    (backend,) = (await open_drivers(Address("primary", spec), policies, made(**environment))).values()
    inventory = backend._inventory  # type: ignore[attr-defined]  # asking for it would need the engine
    assert (inventory.names, inventory.stand_in) == (frozenset(names), False)
    await backend.aclose()


def limits(backend: Any) -> Timeouts:
    """Return the limits of a driver: its own, or those of the HTTP engine inside it."""
    found: Timeouts = backend._engine.timeouts if hasattr(backend, "_engine") else backend._timeouts
    return found


@pytest.mark.parametrize("kind", ["tgi+http://h", "hub:https://h", "litellm:openai/{blend}"])
async def test_an_address_may_set_its_limits(policies: Policies, kind: str) -> None:
    (usual,) = (await open_drivers(Address("primary", f"{kind}?names=core"), policies, made())).values()
    assert limits(usual) == Timeouts()
    patient = f"{kind}?names=core&connect=2&first_token=300&between_tokens=0.5"
    (backend,) = (await open_drivers(Address("primary", patient), policies, made())).values()
    assert limits(backend) == Timeouts(2, 300, 0.5)


async def test_a_provider_without_our_adapters_is_a_stand_in(policies: Policies) -> None:
    backend = await open_backend(Address("spare", "litellm:openai/gpt-x"), policies, made())
    assert (await backend.inventory()).stand_in is True


@pytest.mark.parametrize(
    ("spec", "environment", "says"),
    [
        ("http://h:80", {}, "is no address"),
        ("tgi+ftp://h", {}, "is no address"),
        ("tgi+http://h/v1?names=core", {}, "ends in /v1"),
        ("tgi+http://user:hunter2@h?names=core", {}, "holds a password"),
        ("hub:https://user:hunter2@h?names=core", {}, "holds a password"),
        ("ftp://user:hunter2@h", {}, "holds a password"),
        ("litellm:openai/x?api_base=http://user:hunter2@h/v1", {}, "api_base holds a password"),
        ("tgi+http://h", {}, "LORA_ADAPTERS"),
        ("tgi+http://h?name=core", {}, "an option 'name'; it may have names, api_key_env"),
        ("tgi+http://h?names=core&names=sport", {}, "names is given twice"),
        ("tgi+http://h?names=", {}, "names is empty"),
        ("tgi+http://h?names=core,,sport", {}, "name"),
        ("tgi+http://h", {"LORA_ADAPTERS": "core=a=b"}, "Invalid LoRA adapter format"),
        ("tgi+http://h?names=core&api_key_env=KEY", {}, "variable KEY is not set"),
        ("tgi+http://h?names=core&api_key_env=KEY", {"KEY": ""}, "variable KEY is not set"),
        ("hub:ftp://h?names=core", {}, "not the root of an endpoint"),
        ("hub:https://h?names=dummy", {}, "mean the base model"),
        ("tgi+http://h?names=core&first_token=long", {}, "the option first_token is no number"),
        ("tgi+http://h?names=core&connect=0", {}, "connect is 0.0; it must be a positive number"),
        ("embedded:?connect=1", {}, "an option 'connect'; it may have canary, first_token, between_tokens"),
        ("litellm:openai/{blend}", {}, "name them all"),
        ("litellm:openai/gpt-x?names=core", {}, "cannot serve"),
    ],
)
async def test_a_wrong_address_says_what_would_be_right(
    policies: Policies, spec: str, environment: dict[str, str], says: str
) -> None:
    with pytest.raises((SettingsInvalid, PolicyInvalid)) as caught:
        await open_backend(Address(spec if "hunter2" in spec else "primary", spec), policies, made(**environment))
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_every_backend_that_a_profile_names_needs_an_address(policies: Policies) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        addresses(policies, Settings(backends={"first": "tgi+http://h"}))
    (problem,) = caught.value.problems
    assert "'second' has no address" in problem.wrong
    assert "--backend second=" in problem.right


def test_an_address_in_the_policy_needs_no_other(tmp_path: Path) -> None:
    text = POLICY.replace("[first, second]", "[first, 'tgi+http://h?names=core']")
    found = addresses(load_policies(write_policy(tmp_path, text)), Settings(backends={"first": "litellm:x/y"}))
    assert {name: address.spec for name, address in found.items()} == {
        "first": "litellm:x/y",
        "tgi+http://h?names=core": "tgi+http://h?names=core",
    }


async def test_embedded_needs_the_base_it_carries(policies: Policies) -> None:
    with pytest.raises(PolicyInvalid, match=r"carries .*, not some/base"):
        await open_backend(Address("first", "embedded:"), policies, made())


def test_embedded_names_every_missing_adapter_folder(policies: Policies, tmp_path: Path) -> None:
    backends = dict.fromkeys(("first", "second"), "embedded:")
    settings = Settings(policy=tmp_path / "p.yaml", backends=backends)
    with pytest.raises(PolicyInvalid) as caught:
        addresses(policies, settings)
    assert {problem.where for problem in caught.value.problems} == {
        f"adapters.{name}.from" for name in ("core", "physics", "sport", "academic")
    }


def test_embedded_needs_no_folder_for_an_adapter_that_another_engine_serves(tmp_path: Path) -> None:
    text = POLICY + "tenants: { acme: { adapters: { core: { from: org/their-core } }, backends: [second] } }\n"
    policies = load_policies(write_policy(tmp_path, text))
    make_adapters(tmp_path)
    settings = Settings(
        policy=tmp_path / "policy.yaml", backends={"first": "embedded:", "second": "tgi+http://h?names=core-1"}
    )
    with pytest.raises(PolicyInvalid, match="two profiles take it"):
        addresses(policies, replace(settings, backends=dict.fromkeys(("first", "second"), "embedded:")))
    assert addresses(policies, settings)["first"].content


async def test_embedded_on_a_base_that_is_not_there(policies: Policies, tmp_path: Path) -> None:
    make_adapters(tmp_path)
    settings = Settings(policy=tmp_path / "policy.yaml", data=tmp_path)
    with pytest.raises(SettingsInvalid, match="no-such"):
        await open_backend(Address("first", f"embedded:{tmp_path}/no-such.gguf"), policies, settings)


async def test_adapters_of_another_base_are_refused_however_well_they_fit(tmp_path: Path) -> None:
    make_adapters(tmp_path)
    (tmp_path / "sport" / "adapter_config.json").write_text('{"base_model_name_or_path": "other/base"}')
    policies = load_policies(write_policy(tmp_path))
    with pytest.raises(PolicyInvalid, match="'other/base'") as caught:
        await open_backend(
            Address("first", "embedded:/x.gguf"), policies, Settings(policy=tmp_path / "policy.yaml")
        )
    (problem,) = caught.value.problems
    assert problem.where == "adapters.sport.from"


async def test_missing_weights_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blends.base.PACKAGE", "no_such_package")
    make_adapters(tmp_path)
    policies = load_policies(write_policy(tmp_path, POLICY.replace("some/base", BASE_ID)))
    with pytest.raises(SettingsInvalid, match=r"not installed\. Install it with: .*pip install --no-deps"):
        await open_backend(Address("first", "embedded:"), policies, Settings(policy=tmp_path / "policy.yaml"))


def make_adapters(folder: Path) -> None:
    for name in ("core", "physics", "sport", "academic"):
        (folder / name).mkdir()
        (folder / name / "adapter_config.json").write_text("{}")
        (folder / name / "adapter_model.safetensors").write_bytes(b"")


def test_a_retrained_adapter_is_another_engine(tmp_path: Path) -> None:
    policies = load_policies(write_policy(tmp_path))
    make_adapters(tmp_path)
    settings = Settings(policy=tmp_path / "policy.yaml", backends={"first": "embedded:", "second": "litellm:x/y"})
    before = addresses(policies, settings)
    assert addresses(policies, settings) == before
    (tmp_path / "core" / "adapter_model.safetensors").write_bytes(b"new")
    after = addresses(policies, settings)
    assert after["first"] != before["first"]
    assert after["second"] == before["second"]


TENANT = """
tenants:
  acme: { PATCH }
"""


def served_to_two(folder: Path, patch: str) -> Policies:
    return load_policies(write_policy(folder, POLICY + TENANT.replace("PATCH", patch)))


@pytest.mark.parametrize("kind", ["tgi+http://h", "hub:https://h", "litellm:openai/{blend}"])
@pytest.mark.parametrize("patch", ["adapters: { academic: { from: ./theirs } }", "base: another/base"])
def test_one_bare_name_cannot_be_two_adapters(tmp_path: Path, kind: str, patch: str) -> None:
    """An engine holds one `academic`; a tenant who means another one would get the wrong voice with status 200."""
    policies = served_to_two(tmp_path, patch)
    held = Settings(backends=dict.fromkeys(("first", "second"), f"{kind}?names=academic"))
    with pytest.raises(PolicyInvalid) as caught:
        addresses(policies, held)
    assert {problem.where for problem in caught.value.problems} == {"adapters.academic.from"}
    by_id = Settings(backends=dict.fromkeys(("first", "second"), f"{kind}?names=academic-0123456789ab"))
    assert set(addresses(policies, by_id)) == {"first", "second"}, "ids tell the two apart"
    apart = served_to_two(tmp_path, patch + ", backends: [third]")
    third = Settings(backends={**held.backends, "third": f"{kind}?names=academic-0123456789ab"})
    assert set(addresses(apart, third)) == {"first", "second", "third"}


def test_one_name_from_launch_variables_cannot_be_two_adapters(tmp_path: Path) -> None:
    policies = served_to_two(tmp_path, "adapters: { academic: { from: ./theirs } }")
    backends = dict.fromkeys(("first", "second"), "tgi+http://h")
    with pytest.raises(PolicyInvalid, match="academic"):
        addresses(policies, Settings(backends=backends, environment={"LORA_ADAPTERS": "academic=/a"}))
    stand_ins = Settings(
        backends=dict.fromkeys(("first", "second"), "litellm:x/y"), environment={"LORA_ADAPTERS": "academic=/a"}
    )
    assert set(addresses(policies, stand_ins)) == {"first", "second"}, "a stand-in holds none"


def test_the_embedded_engine_takes_adapters_of_the_hub_at_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_adapters(tmp_path)
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "hub" / "models--acme--sport" / "snapshots" / commit
    cached.parent.mkdir(parents=True)
    (tmp_path / "sport").rename(cached)
    (cached / "adapter_model.safetensors").touch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    settings = Settings(policy=tmp_path / "policy.yaml", backends=dict.fromkeys(("first", "second"), "embedded:"))
    pinned = POLICY.replace("./sport", f"hub:acme/sport@{commit}")
    assert set(addresses(load_policies(write_policy(tmp_path, pinned)), settings)) == {"first", "second"}
    loose = POLICY.replace("./sport", "hub:acme/sport@main")
    with pytest.raises(PolicyInvalid, match=r"adapters\.sport\.from: cannot be used; .*'main' is a branch"):
        addresses(load_policies(write_policy(tmp_path, loose)), settings)


LOSSY = POLICY.replace("at_most: 2", "at_most: 2, merge: svd(rank=16)")


@pytest.mark.parametrize("spec", ["embedded:", "embedded:/x.gguf", "llamacpp+http://h:1"])
def test_an_engine_that_adds_up_itself_is_refused_for_a_lossy_merge(tmp_path: Path, spec: str) -> None:
    """It would answer with the exact sum under the name of another blend."""
    make_adapters(tmp_path)
    policies = load_policies(write_policy(tmp_path, LOSSY))
    settings = Settings(
        policy=tmp_path / "policy.yaml",
        backends={"first": spec, "second": "tgi+http://h"},
        environment={"LORA_ADAPTERS": "core=/a"},
    )
    with pytest.raises(PolicyInvalid) as raised:
        addresses(policies, settings)
    (problem,) = raised.value.problems
    assert problem.where == "compose.merge"
    assert "'svd(rank=16)' is built ahead, but" in problem.wrong
    assert problem.right == "write `merge: exact`, or name an engine that serves built blends (tgi, vllm, sglang)"


def test_a_lossy_merge_of_nothing_is_no_reason_to_refuse(tmp_path: Path) -> None:
    """Where every reachable blend is one adapter, nothing is ever merged."""
    make_adapters(tmp_path)
    lonely = LOSSY.replace("when: always", "when: asked").replace("at_most: 2", "at_most: 1")
    policies = load_policies(write_policy(tmp_path, lonely.replace("compose:", "otherwise: [sport]\ncompose:")))
    settings = Settings(policy=tmp_path / "policy.yaml", backends=dict.fromkeys(("first", "second"), "embedded:"))
    assert set(addresses(policies, settings)) == {"first", "second"}


async def test_embedded_runs_one_base(tmp_path: Path) -> None:
    """The base is in a blend's id, but the engine adds adapters up by name on whatever base it has loaded."""
    make_adapters(tmp_path)
    policies = served_to_two(tmp_path, "base: another/base")
    settings = Settings(
        policy=tmp_path / "policy.yaml", backends=dict.fromkeys(("first", "second"), "embedded:/x")
    )
    with pytest.raises(PolicyInvalid, match="one base model, not 'another/base' and 'some/base'"):
        await open_backend(Address("first", "embedded:/x"), policies, settings)


def test_another_base_is_another_engine(tmp_path: Path) -> None:
    """Else a reload would keep the old base under the new policy."""
    make_adapters(tmp_path)
    settings = Settings(policy=tmp_path / "policy.yaml", backends=dict.fromkeys(("first", "second"), "embedded:"))
    before = addresses(load_policies(write_policy(tmp_path)), settings)
    other = POLICY.replace("some/base", "another/base")
    assert addresses(load_policies(write_policy(tmp_path, other)), settings) != before


@pytest.mark.parametrize(
    ("cache", "secret", "says"),
    [
        ("redis://h:6379/0", None, "set AGOGE_CACHE_SECRET"),
        ("rediss://h", "", "set AGOGE_CACHE_SECRET"),
        ("unix:///s", None, "set AGOGE_CACHE_SECRET"),
        ("redis://h", "too short", "shorter than 16 bytes"),
        ("memory:", "too short", "shorter than 16 bytes"),
        ("redis://h", "0123456789abcdef", None),
        ("memory:", None, None),
        ("none:", None, None),
    ],
)
def test_a_shared_cache_needs_a_shared_secret(cache: str, secret: str | None, says: str | None) -> None:
    environment = {} if secret is None else {"AGOGE_CACHE_SECRET": secret}
    settings = Settings(cache=cache, environment=environment)
    if says is None:
        assert len(settings.secret()) >= 16
        assert (settings.secret() == settings.secret()) is (secret is not None)
    else:
        with pytest.raises(SettingsInvalid, match=says):
            settings.secret()
