"""`agoge blends`: from a policy and four small adapters to what an engine is launched with, in real files."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from blends.adapter import read_adapter
from blends.base import BASE_ID
from blends.manifest import read_manifest
from blends.spec import Spec
from blends.verify import proved
from router.backends.tgi import parse_lora_adapters
from router.cli.main import command
from router.core.reachable import reachable
from router.policy_file import load_policies
from tests.blends.small import write_adapter

ROOT = Path(__file__).parents[2]
POLICY = """\
version: 1
base: some/base
adapters:
  core:     { from: ./core,     when: always }
  physics:  { from: ./physics,  when: { label: physics, at_least: 0.5 }, weight: 0.8 }
  sport:    { from: ./sport,    when: { label: sport, at_least: 0.5 }, weight: 0.8 }
  academic: { from: ./academic, when: asked, alone: true }
compose: { at_most: 1 }
backends: [primary]
tenants:
  lab: { adapters: { physics: { weight: 0.5 } } }
"""


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(command, ["blends", *map(str, args)])


def good(*args: str | Path) -> Result:
    result = run(*args)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    place = tmp_path / "policies"
    for seed, (name, rank) in enumerate([("core", 12), ("physics", 4), ("sport", 8), ("academic", 4)]):
        write_adapter(place / name, rank, seed)
    (place / "policy.yaml").write_text(POLICY)
    return place / "policy.yaml"


@pytest.fixture
def built(policy: Path, tmp_path: Path) -> Path:
    good("build", policy, "--out", tmp_path / "built", "--jobs", "1")
    return tmp_path / "built"


# --- compose


def test_compose_writes_one_proved_folder(policy: Path, tmp_path: Path) -> None:
    place, out = policy.parent, tmp_path / "both"
    result = good("compose", f"{place}/core=1.0", f"{place}/physics=0.8", "--out", out)
    assert f"wrote {out}: core x 1 + physics x 0.8 on some/base" in result.stdout
    assert "rank 16, padded to 16; q_proj, v_proj in 2 layers" in result.stdout
    members = [(read_adapter(place / "core"), 1.0), (read_adapter(place / "physics"), 0.8)]
    assert proved(out, members) < 1e-6
    assert sorted(file.name for file in out.glob("*.safetensors")) == ["adapter_model.safetensors"]
    assert sorted(item.name for item in tmp_path.iterdir()) == ["both", "policies"]


def test_compose_takes_paths_from_where_one_stands(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(policy.parent)
    facts = json.loads(good("compose", "./core=1.0", "./physics=-0.5", "--out", "both", "--json").stdout)
    assert facts["members"][1]["weight"] == -0.5
    assert (facts["folder"], facts["method"], facts["bucket"]) == ("both", "exact", 16)
    assert (policy.parent / "both" / "adapter_config.json").is_file()


def test_compose_into_an_empty_folder_that_is_there(policy: Path, tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    good("compose", f"{policy.parent}/core=1", "--out", tmp_path / "both")
    assert (tmp_path / "both" / "adapter_config.json").is_file()


def test_compose_replaces_its_own_earlier_result_whole(policy: Path, tmp_path: Path) -> None:
    place, out = policy.parent, tmp_path / "both"
    good("compose", f"{place}/core=1", f"{place}/physics=1", "--out", out)
    good("compose", f"{place}/core=1", f"{place}/physics=0.5", "--out", out)
    members = [(read_adapter(place / "core"), 1.0), (read_adapter(place / "physics"), 0.5)]
    assert proved(out, members) < 1e-6
    before = (out / "adapter_model.safetensors").read_bytes()
    assert run("compose", f"{place}/core=1", f"{place}/physics=0", "--out", out).exit_code == 1
    assert (out / "adapter_model.safetensors").read_bytes() == before  # a refusal takes nothing away
    assert sorted(item.name for item in tmp_path.iterdir()) == ["both", "policies"]


def test_compose_by_a_lossy_method_says_how_far_it_is_off(policy: Path, tmp_path: Path) -> None:
    place = policy.parent
    result = good(
        "compose", f"{place}/core=1", f"{place}/sport=1", "--method", "svd(rank=8)", "--out", tmp_path / "b"
    )
    assert "svd(rank=8): off the weighted sum by" in result.stdout


@pytest.mark.parametrize(
    ("setting", "names", "says"),
    [
        ({"use_dora": True}, "weird", "use_dora is set"),
        ({"bias": "all"}, "weird", "bias is 'all'"),
        ({"modules_to_save": ["lm_head"]}, "weird", "modules_to_save is set"),
        ({"init_lora_weights": "pissa"}, "weird", "it changes the base weights"),
        ({"base": "other/base"}, "weird", "different base models have no common update"),
        ({"rank": 120}, "weird", "the ranks add up to 132"),
    ],
)
def test_a_refusal_exits_with_1_and_names_adapter_and_reason(
    policy: Path, tmp_path: Path, setting: dict[str, Any], names: str, says: str
) -> None:
    write_adapter(policy.parent / "weird", **setting)
    result = run("compose", f"{policy.parent}/core=1", f"{policy.parent}/weird=1", "--out", tmp_path / "b")
    assert result.exit_code == 1
    assert names in result.stderr
    assert says in result.stderr
    assert not (tmp_path / "b").exists()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["policies"]  # no scratch


@pytest.mark.parametrize(
    ("members", "says"),
    [
        (["nobody=1.0"], "there is no folder"),
        (["hub:acme/x@main=1.0"], "'main' is a branch"),
        (["core=1", "core=0.5"], "an adapter is named twice"),
        (["core=0"], "it would not be heard"),
    ],
)
def test_other_refusals(policy: Path, tmp_path: Path, members: list[str], says: str) -> None:
    given = [member if ":" in member else f"{policy.parent}/{member}" for member in members]
    result = run("compose", *given, "--out", tmp_path / "b")
    assert result.exit_code == 1
    assert says in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["--out", "b"],
        ["core=1.0"],
        ["core", "--out", "b"],
        ["core=loud", "--out", "b"],
        ["core=nan", "--out", "b"],
        ["=1.0", "--out", "b"],
        ["core=1.0", "--out", "core"],
        ["core=1.0", "--method", "linear", "--out", "b"],
        ["core=1.0", "--layers", "0", "--out", "b"],
    ],
)
def test_wrong_usage_exits_with_2(policy: Path, monkeypatch: pytest.MonkeyPatch, args: list[str]) -> None:
    monkeypatch.chdir(policy.parent)
    assert run("compose", *args).exit_code == 2


def test_an_adapter_without_a_base_needs_one_said(policy: Path, tmp_path: Path) -> None:
    write_adapter(policy.parent / "homeless", base="")
    assert run("compose", f"{policy.parent}/homeless=1", "--out", tmp_path / "b").exit_code == 2
    good("compose", f"{policy.parent}/homeless=1", "--base", "a/b", "--out", tmp_path / "b")
    config = json.loads((tmp_path / "b" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "a/b"


# --- build


def test_build_makes_the_closure_of_all_tenants(policy: Path, tmp_path: Path) -> None:
    result = good("build", policy, "--out", tmp_path / "built", "--jobs", "1")
    policies = load_policies(policy)
    wanted = {blend.id for profile in policies.profiles.values() for blend in reachable(profile)}
    manifest = read_manifest(tmp_path / "built")
    assert {entry.blend for entry in manifest.entries} == wanted
    assert len(wanted) == 5  # academic, core, core+physics at 0.8 and at 0.5, core+sport
    assert {entry.blend for entry in manifest.entries if entry.alone} == {
        blend.id for blend in reachable(policies.profile("default", None)) if blend.alone
    }
    assert "5 blends in" in result.stdout
    assert "5 built, 0 as before" in result.stdout
    assert "Every exact one equals its weighted sum up to" in result.stdout
    assert "1/5 academic-" in result.stderr
    again = good("build", policy, "--out", tmp_path / "built")
    assert "0 built, 5 as before" in again.stdout


def test_build_prunes_on_request(policy: Path, built: Path) -> None:
    policy.write_text(POLICY.partition("tenants:")[0])
    assert "Removed" not in good("build", policy, "--out", built).stdout
    assert "Removed 1 folder that nothing named" in good("build", policy, "--out", built, "--prune").stdout
    data = json.loads(good("build", policy, "--out", built, "--json").stdout)
    assert (data["ok"], len(data["blends"]), data["made"]) == (True, 4, [])


def test_build_names_everything_that_is_wrong_and_keeps_the_old_manifest(policy: Path, built: Path) -> None:
    before = (built / "blends.json").read_bytes()
    write_adapter(policy.parent / "sport", use_dora=True)
    shutil.rmtree(policy.parent / "academic")
    result = run("build", policy, "--out", built)
    assert result.exit_code == 1
    assert "core x 1 + sport x 0.8" in result.stderr
    assert "use_dora is set" in result.stderr
    assert "academic x 1" in result.stderr
    assert "2 blends cannot be built" in result.stderr
    assert "blends.json is as it was" in result.stderr
    assert (built / "blends.json").read_bytes() == before
    problems = json.loads(run("build", policy, "--out", built, "--json").stdout)
    assert (problems["ok"], len(problems["problems"])) == (False, 2)


def test_build_takes_an_adapter_of_the_hub_out_of_a_local_cache(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = tmp_path / "hub" / "models--acme--sport-lora" / "snapshots" / commit
    place.parent.mkdir(parents=True)
    (policy.parent / "sport").rename(place)
    policy.write_text(POLICY.replace("./sport", f"hub:acme/sport-lora@{commit}"))
    good("build", policy, "--out", tmp_path / "built", "--hub-cache", tmp_path / "hub")
    manifest = read_manifest(tmp_path / "built")
    (pair,) = [entry for entry in manifest.entries if entry.served.startswith("core+sport-")]
    assert pair.members[1].source == f"hub:acme/sport-lora@{commit}"
    assert set(states(tmp_path / "built", "--hub-cache", tmp_path / "hub").values()) == {"good"}
    policy.write_text(POLICY.replace("./sport", "hub:acme/sport-lora@main"))
    refused = run("build", policy, "--out", tmp_path / "built", "--hub-cache", tmp_path / "hub")
    assert refused.exit_code == 1
    assert "'main' is a branch, a tag or a short commit" in refused.stderr


def test_build_holds_the_gate_of_the_policy(policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The meter is a double: real measuring takes a base model and minutes (tests/blends/test_conflicts.py)."""
    seen: list[str] = []

    class Figure:
        worst = 0.34

        def __str__(self) -> str:
            return "physics loses 34 % when the core joins"

    class Meter:
        def __init__(self, sources: Path, base: str | None, cache: Path | None, say: object) -> None:
            assert (sources, base) == (policy.parent, "/models/base")

        def __call__(self, spec: Spec) -> Figure:
            seen.append("+".join(name for name, _, _ in spec.members))
            return Figure()

    monkeypatch.setattr("blends.conflicts.Meter", Meter)
    good("build", policy, "--out", tmp_path / "open", "--base", "/models/base")
    assert seen == []  # no gate, nothing is measured
    policy.write_text(POLICY.replace("at_most: 1", "at_most: 1, refuse_conflict_above: 0.1"))
    result = run("build", policy, "--out", tmp_path / "gated", "--base", "/models/base")
    assert result.exit_code == 1
    assert set(seen) == {"core+physics", "core+sport"}
    assert "the conflict is 0.34, the policy refuses above 0.1: physics loses 34 %" in result.stderr
    assert not (tmp_path / "gated" / "blends.json").exists()


def test_build_refuses_a_bad_policy(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY.replace("at_most: 1", "at_most: 0"))
    result = run("build", tmp_path / "policy.yaml", "--out", tmp_path / "built")
    assert result.exit_code == 1
    assert "compose.at_most" in result.stderr
    assert not (tmp_path / "built").exists()


def test_build_shows_a_bar_on_a_terminal(policy: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "router.cli", "blends", "build", str(policy), "--out", str(tmp_path / "b")],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    ) as child:  # fmt: skip
        os.close(theirs)
        seen = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the terminal is gone when the other side has left
                break
            if not piece:
                break
            seen += piece
    os.close(ours)
    assert child.returncode == 0
    assert "5/5" in seen.decode()
    assert "━" in seen.decode()


# --- show, verify


def test_show_lists_what_was_built(built: Path) -> None:
    shown = good("show", "--blends", built).stdout
    for said in (
        "core x 1 + physics x 0.8",
        "core x 1 + physics x 0.5",
        "academic x 1, alone",
        "12 in 16",
        "exact",
    ):
        assert said in shown
    assert "5 blends on some/base" in shown
    data = json.loads(good("show", "--blends", built, "--json").stdout)
    assert len(data["blends"]) == 5
    assert data["blends"][0]["members"][0]["sha256"]


@pytest.mark.parametrize("verb", ["show", "verify"])
def test_without_a_manifest_the_way_to_one_is_said(verb: str, tmp_path: Path) -> None:
    result = run(verb, "--blends", tmp_path)
    assert result.exit_code == 1
    assert "agoge blends build" in result.stderr


def test_verify_finds_everything_in_order(built: Path) -> None:
    assert "5 blends, all equal to what their policy says" in good("verify", "--blends", built).stdout


def states(built: Path, *args: str | Path) -> dict[str, str]:
    result = run("verify", "--blends", built, "--json", *args)
    data = json.loads(result.stdout)
    assert result.exit_code == (0 if data["ok"] else 1)
    return {blend["served"].rpartition("-")[0]: blend["state"] for blend in data["blends"]}


def test_verify_calls_what_a_changed_source_is_in_stale(policy: Path, built: Path) -> None:
    write_adapter(policy.parent / "sport", 8, seed=77)
    assert states(built) == {
        "academic": "good", "core": "good", "core+physics": "good", "core+sport": "stale",
    }  # fmt: skip
    assert "sport (./sport) has changed since; build again" in run("verify", "--blends", built).stdout
    shutil.rmtree(policy.parent / "academic")
    assert states(built)["academic"] == "stale"


def test_verify_finds_damage_loss_and_a_wrong_sum(policy: Path, built: Path) -> None:
    served = {name.rpartition("-")[0]: name for name in read_manifest(built).published.values()}
    shutil.rmtree(built / served["academic"])
    weights = built / served["core"] / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    # core+sport: somebody else's whole folder, with a manifest that says it is right
    other, mine = built / served["core+physics"], built / served["core+sport"]
    shutil.rmtree(mine)
    shutil.copytree(other, mine)
    content = json.loads((built / "blends.json").read_text())
    hashes = {blend["served"]: blend["sha256"] for blend in content["blends"]}
    for blend in content["blends"]:
        if blend["served"] == mine.name:
            blend["sha256"] = hashes[other.name]
    (built / "blends.json").write_text(json.dumps(content))
    found = states(built)
    assert (found["academic"], found["core"], found["core+sport"]) == ("missing", "damaged", "unproved")
    assert found["core+physics"] == "good"


def test_verify_takes_sources_from_elsewhere(policy: Path, built: Path, tmp_path: Path) -> None:
    policy.parent.rename(tmp_path / "moved")
    assert set(states(built).values()) == {"stale"}
    assert set(states(built, "--sources", tmp_path / "moved").values()) == {"good"}


# --- publish


def published(built: Path, engine: str, *args: str | Path) -> dict[str, Any]:
    data = json.loads(good("publish", "--engine", engine, "--blends", built, "--format", "json", *args).stdout)
    assert isinstance(data, dict)
    return data


def test_tgi_gets_its_one_line(built: Path) -> None:
    result = good("publish", "--engine", "tgi", "--blends", built, "--root", "/adapters/")
    lines = dict(line.split("=", 1) for line in result.stdout.splitlines())
    served = set(read_manifest(built).published.values())
    assert set(parse_lora_adapters(lines["LORA_ADAPTERS"])) == served
    assert set(lines["LORA_ADAPTERS"].split(",")) == {f"{name}=/adapters/{name}" for name in served}
    assert lines["PREFIX_CACHING"] == "0"
    assert "--cuda-graphs 0" in result.stderr
    assert published(built, "tgi")["command"][-2:] == ["--cuda-graphs", "0"]


def test_the_folders_are_where_the_line_says_without_a_root(built: Path) -> None:
    line = published(built, "tgi")["environment"]["LORA_ADAPTERS"]
    for item in line.split(","):
        assert (Path(item.partition("=")[2]) / "adapter_model.safetensors").is_file()


def arguments(command: list[str]) -> dict[str, list[str]]:
    """Read `--name value value` into a mapping, as argparse does with nargs."""
    found: dict[str, list[str]] = {"": []}
    name = ""
    for word in command:
        if word.startswith("--"):
            name = word
            found[name] = []
        else:
            found[name].append(word)
    return found


def test_vllm_gets_a_whole_command(built: Path) -> None:
    data = published(built, "vllm", "--root", "/b")
    given = arguments(data["command"])
    served = set(read_manifest(built).published.values())
    assert given[""] == ["vllm", "serve", "some/base"]
    assert given["--enable-lora"] == []
    assert given["--max-lora-rank"] == ["32"]  # core 12 + sport 8 need 20
    assert given["--max-loras"] == ["6"]  # one stays empty: on a CPU the last one speaks for the base
    assert int(given["--max-cpu-loras"][0]) >= 5
    assert set(given["--lora-modules"]) == {f"{name}=/b/{name}" for name in served}
    assert data["environment"] == {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
    assert arguments(published(built, "vllm", "--slots", "2")["command"])["--max-loras"] == ["2"]
    line = good("publish", "--engine", "vllm", "--blends", built).stdout
    assert line.startswith("env VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve some/base ")


def test_sglang_gets_rank_and_modules_that_hold_for_all(built: Path) -> None:
    given = arguments(published(built, "sglang", "--root", "/b")["command"])
    assert given[""] == ["python", "-m", "sglang.launch_server"]
    assert given["--model-path"] == ["some/base"]
    assert given["--lora-target-modules"] == ["q_proj", "v_proj"]
    assert given["--max-lora-rank"] == ["32"]
    assert given["--max-loras-per-batch"] == ["6"]  # the base counts
    assert set(given["--lora-paths"]) == {f"{n}=/b/{n}" for n in read_manifest(built).published.values()}


def test_llamacpp_gets_each_adapter_once_and_silent(tmp_path: Path) -> None:
    built, out = tmp_path / "built", tmp_path / "gguf"
    good("build", ROOT / "policies/default.yaml", "--out", built, "--jobs", "1")
    said = published(built, "llamacpp", "--out", out, "--root", "/g")
    given = arguments(said["command"])
    files = sorted(file.name for file in out.iterdir())
    assert given["--lora-scaled"] == [",".join(f"/g/{name}:0.0" for name in files)]
    assert [name.rpartition("-")[0] for name in files] == ["academic", "core", "physics", "sport"]
    stems = ",".join(name.removesuffix(".gguf") for name in files)
    assert any(f"?files={stems}'" in note for note in said["notes"])
    for name in files:
        assert len(name.removesuffix(".gguf").rpartition("-")[2]) == 12
        assert (out / name).read_bytes()[:4] == b"GGUF"
    assert read_manifest(built).bases == (BASE_ID,)


@pytest.mark.parametrize("bad", ["/a b", "/a=b", "/a,b", "/a@b", "/a:b"])
def test_a_root_that_an_engine_would_cut_is_refused(built: Path, bad: str) -> None:
    result = run("publish", "--engine", "tgi", "--blends", built, "--root", bad)
    assert result.exit_code == 1
    assert "--root" in result.stderr


def test_two_bases_are_two_engines(policy: Path, built: Path) -> None:
    write_adapter(policy.parent / "far", base="other/base")
    policy.write_text(
        POLICY
        + "  far:\n    base: other/base\n"
        + "    adapters: { core: { from: ./far }, physics: null, sport: null, academic: null }\n"
    )
    good("build", policy, "--out", built)
    result = run("publish", "--engine", "vllm", "--blends", built)
    assert result.exit_code == 1
    assert "say which with --base: other/base, some/base" in result.stderr
    assert published(built, "vllm", "--base", "other/base")["command"][2] == "other/base"
    assert run("publish", "--engine", "vllm", "--blends", built, "--base", "third").exit_code == 1


@pytest.mark.parametrize(
    "args", [["tgi", "--slots", "2"], ["vllm", "--out", "x"], ["sglang", "--base-gguf", "x"], ["lorax"]]
)
def test_options_of_another_engine_are_wrong_usage(built: Path, args: list[str]) -> None:
    assert run("publish", "--blends", built, "--engine", *args).exit_code == 2


def test_llamacpp_refuses_a_lossy_blend(policy: Path, tmp_path: Path) -> None:
    policy.write_text(POLICY.replace("at_most: 1", "at_most: 1, merge: svd(rank=8)"))
    good("build", policy, "--out", tmp_path / "built")
    result = run("publish", "--engine", "llamacpp", "--blends", tmp_path / "built", "--out", tmp_path / "g")
    assert result.exit_code == 1
    assert "llama.cpp adds up exactly" in result.stderr


@pytest.mark.parametrize("verb", ["compose", "build", "show", "verify", "publish"])
def test_help_documents_the_exit_codes(verb: str) -> None:
    assert "Exit codes: 0 all is well, 1 something is wrong" in " ".join(run(verb, "--help").stdout.split())


def test_the_group_loads_nothing_heavy() -> None:
    heavy = ["torch", "peft", "transformers", "fastapi", "huggingface_hub", "gguf", "aiohttp"]
    verbs = "router.cli.blends_build, router.cli.blends_publish, router.cli.blends_verify"
    code = f"import sys, {verbs}; print([module for module in {heavy} if module in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
