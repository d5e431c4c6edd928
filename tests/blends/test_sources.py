"""Sources: a folder, or a repository at one commit, from a cache laid out as the library does; offline."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from blends.sources import SourceRefused, resolve

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = ("adapter_config.json", "adapter_model.safetensors")


def snapshot(
    cache: Path, repository: str = "acme/physics-lora", commit: str = COMMIT, files: tuple[str, ...] = FILES
) -> Path:
    """Make what a download leaves: blobs, and a snapshot of links to them."""
    home = cache / f"models--{repository.replace('/', '--')}"
    place = home / "snapshots" / commit
    place.mkdir(parents=True)
    (home / "blobs").mkdir()
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    for number, name in enumerate(files):
        (home / "blobs" / str(number)).write_text("{}")
        (place / name).symlink_to(os.path.relpath(home / "blobs" / str(number), place))
    return place


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub reads the variable when it is imported; tests must not reach a network in any case."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_a_folder_starts_from_the_policy(tmp_path: Path) -> None:
    place = tmp_path / "policies" / "adapters" / "core"
    place.mkdir(parents=True)
    for name in FILES:
        (place / name).write_text("{}")
    assert resolve("./adapters/core", tmp_path / "policies") == place
    assert resolve("adapters/core", tmp_path / "policies") == place
    assert resolve(str(place), tmp_path) == place


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match=rf"\./nobody: there is no folder {tmp_path}/nobody$"):
        resolve("./nobody", tmp_path)


def test_a_folder_without_an_adapter_is_named(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / FILES[0]).write_text("{}")
    with pytest.raises(SourceRefused, match=r"holds no adapter_model\.safetensors"):
        resolve("core", tmp_path)


def test_a_bare_hub_id_is_a_folder_and_the_hint_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="for a repository of the hub write hub:owner/name@<commit>"):
        resolve("acme/physics-lora", tmp_path)


def test_a_pinned_commit_comes_out_of_the_cache(tmp_path: Path) -> None:
    place = snapshot(tmp_path)
    assert resolve(f"hub:acme/physics-lora@{COMMIT}", Path("/nowhere"), tmp_path) == place
    assert (place / FILES[1]).read_text() == "{}"


def test_the_environment_says_where_the_cache_is(tmp_path: Path) -> None:
    place = snapshot(tmp_path)
    source = f"hub:acme/physics-lora@{COMMIT}"
    code = f"from pathlib import Path; from blends.sources import resolve; print(resolve({source!r}, Path()))"
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(place)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("hub:acme/physics-lora", "the commit is missing"),
        ("hub:acme/physics-lora@", "the commit is missing"),
        ("hub:acme/physics-lora@main", "'main' is a branch, a tag or a short commit"),
        ("hub:acme/physics-lora@v1.0", "'v1.0' is a branch"),
        (f"hub:acme/physics-lora@{COMMIT[:12]}", "a short commit"),
        (f"hub:acme/physics-lora@{COMMIT.upper()}", "is a branch"),
        (f"hub:physics-lora@{COMMIT}", "'physics-lora' is no repository"),
        (f"hub:a/b/c@{COMMIT}", "'a/b/c' is no repository"),
        (f"hub:../x@{COMMIT}", "is no repository"),
    ],
)
def test_what_is_not_pinned_is_refused_with_what_to_write(tmp_path: Path, source: str, says: str) -> None:
    snapshot(tmp_path)  # even though the branch `main` is in the cache
    with pytest.raises(SourceRefused, match="write hub:owner/name@<commit>, with the 40 hex digits") as raised:
        resolve(source, tmp_path, tmp_path)
    assert says in str(raised.value)


def test_a_commit_outside_the_cache_cannot_be_had_offline(tmp_path: Path) -> None:
    snapshot(tmp_path)
    other = COMMIT[::-1]
    with pytest.raises(SourceRefused, match=f"hf download acme/physics-lora --revision {other}"):
        resolve(f"hub:acme/physics-lora@{other}", tmp_path, tmp_path)


def test_half_a_snapshot_is_not_taken_for_an_adapter(tmp_path: Path) -> None:
    snapshot(tmp_path, files=FILES[:1])
    with pytest.raises(SourceRefused, match="is not in the hub's cache"):
        resolve(f"hub:acme/physics-lora@{COMMIT}", tmp_path, tmp_path)


def test_the_hub_library_is_loaded_for_hub_sources_only(tmp_path: Path) -> None:
    code = "import sys, blends.sources; print('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_a_network_the_message_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not offline by wish but by circumstance: the library raises another error then."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.snapshot_download", _unreachable)
    with pytest.raises(SourceRefused, match="the hub was not reached"):
        resolve(f"hub:acme/physics-lora@{COMMIT}", tmp_path, tmp_path)


def _unreachable(*args: object, **options: object) -> str:
    raise httpx.ConnectError("Name or service not known")


def test_a_repository_whose_commit_holds_no_adapter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The download brings only what it asked for; a full model's repository has neither file."""
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda *args, **options: str(snapshot(tmp_path, files=()))
    )
    with pytest.raises(SourceRefused, match=r"holds no adapter_config\.json and no adapter_model\.safetensors"):
        resolve(f"hub:acme/physics-lora@{COMMIT}", tmp_path, tmp_path)
