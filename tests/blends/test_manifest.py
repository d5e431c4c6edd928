"""blends.json: what is written is read back, what is damaged is refused by name, and replacing it is one step."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blends.manifest import (
    FILE,
    Entry,
    Manifest,
    ManifestInvalid,
    ManifestMissing,
    Part,
    read_manifest,
    replace_file,
    write_manifest,
)

PAIR = Entry(
    blend="core+physics-b6b2cfce6283",
    served="core+physics-0123456789ab",
    members=(Part("core", 1.0, "./core", "a" * 64), Part("physics", 0.8, "./physics", "b" * 64)),
    base="org/model",
    alone=False,
    method="exact",
    error=1.5e-8,
    rank=12,
    bucket=16,
    modules=("q_proj", "v_proj"),
    layers=30,
    bytes=4096,
    memory_bytes=2000,
    sha256="c" * 64,
)
ALONE = replace(PAIR, blend="academic-1", served="academic-ba9876543210", members=PAIR.members[:1], alone=True)


def test_what_is_written_is_read_back_sorted(tmp_path: Path) -> None:
    write_manifest(tmp_path, Manifest((PAIR, ALONE), "../policies"))
    read = read_manifest(tmp_path)
    assert read == Manifest((ALONE, PAIR), "../policies")
    assert read.published == {PAIR.blend: PAIR.served, ALONE.blend: ALONE.served}
    assert read.bases == ("org/model",)
    assert [file.name for file in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o644


def test_the_file_is_plain_data_for_other_programs(tmp_path: Path) -> None:
    write_manifest(tmp_path, Manifest((PAIR,)))
    content = json.loads((tmp_path / FILE).read_text())
    assert content["version"] == 1
    assert content["blends"][0]["members"][1] == {
        "name": "physics", "weight": 0.8, "source": "./physics", "sha256": "b" * 64,
    }  # fmt: skip


def test_nothing_built_says_how_to_build(tmp_path: Path) -> None:
    with pytest.raises(ManifestMissing, match="agoge blends build"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.update(version=2), "is of version 2, this Agoge reads 1"),
        (lambda c: c.pop("version"), "is of version None"),
        (lambda c: c.update(blends={}), "blends is no list"),
        (lambda c: c.pop("sources"), "sources of the file is no text"),
        (lambda c: c["blends"].append(c["blends"][0]), "a blend is listed twice"),
        (lambda c: c["blends"].append(3), r"blends\[1\] is no mapping"),
        (lambda c: c["blends"][0].pop("sha256"), r"blends\[0\].sha256 is None; a str stands there"),
        (lambda c: c["blends"][0].update(bytes="4096"), r"blends\[0\].bytes is '4096'; a int stands there"),
        (lambda c: c["blends"][0].update(rank=True), r"blends\[0\].rank is True; a int stands there"),
        (lambda c: c["blends"][0].update(colour="red"), "unknown key 'colour'"),
        (lambda c: c["blends"][0].update(members=[]), "needs members"),
        (lambda c: c["blends"][0].update(modules=[1]), "modules that are texts"),
        (lambda c: c["blends"][0]["members"][0].update(weight="1"), r"members\[0\].weight is '1'"),
        (lambda c: c["blends"][0].update(served="../../etc-0123456789ab"), "served is '../../etc-0123456789ab'"),
        (lambda c: c["blends"][0].update(served="a=b-0123456789ab"), "served is"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_by_name(tmp_path: Path, change: Any, says: str) -> None:
    write_manifest(tmp_path, Manifest((PAIR,)))
    content = json.loads((tmp_path / FILE).read_text())
    change(content)
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(ManifestInvalid, match=says) as raised:
        read_manifest(tmp_path)
    assert str(tmp_path / FILE) in str(raised.value)
    assert "agoge blends build" in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"null"])
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ManifestInvalid):
        read_manifest(tmp_path)


def test_a_write_that_fails_leaves_the_old_file_and_no_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest(tmp_path, Manifest((PAIR,)))

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_manifest(tmp_path, Manifest((ALONE,)))
    assert read_manifest(tmp_path) == Manifest((PAIR,))
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_the_new_file_is_on_the_disk_before_it_takes_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("sync"), sync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda old, new: (done.append("rename"), rename(old, new))[1])
    replace_file(tmp_path / "x", "text")
    assert done == ["sync", "rename", "sync"]  # the content, the name, the folder
