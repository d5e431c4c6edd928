"""Adapter folders from strangers: a plain LoRA comes out, or a refusal with a reason; never another error, never
memory for what the file does not hold, never a file outside of the folder that was named.
"""

from __future__ import annotations

import json
import tracemalloc
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from blends.adapter import CONFIG, WEIGHTS, AdapterRefused, read_adapter
from blends.folders import read_receipt
from blends.manifest import FILE, Entry, Manifest, ManifestInvalid, Part, as_data, read_manifest, write_manifest
from blends.reference import NAME, ReferenceInvalid, read_reference
from blends.sources import SourceRefused, resolve
from tests.fuzz.values import DEEP, JSON, near

MODULE = "base_model.model.model.layers.0.self_attn.q_proj"
RIGHT = {f"{MODULE}.lora_A.weight": np.ones((2, 4), "f4"), f"{MODULE}.lora_B.weight": np.ones((3, 2), "f4")}
SOUND = save(RIGHT)
CONFIGURATION = {
    "peft_type": "LORA",
    "r": 2,
    "lora_alpha": 4,
    "base_model_name_or_path": "some/base",
    "target_modules": ["q_proj"],
    "rank_pattern": {"q_proj": 2},
    "alpha_pattern": {"q_proj": 8.0},
    "bias": "none",
    "use_rslora": True,
    "init_lora_weights": True,
    "layers_to_transform": [0],
    "use_dora": False,
}
HEADER_SIZE = int.from_bytes(SOUND[:8], "little")
HEADER, DATA = json.loads(SOUND[8 : 8 + HEADER_SIZE]), SOUND[8 + HEADER_SIZE :]
A = f"{MODULE}.lora_A.weight"


def packed(header: bytes, data: bytes = DATA, size: int | None = None) -> bytes:
    """Return a safetensors file with this header, whatever it says."""
    return (len(header) if size is None else size).to_bytes(8, "little") + header + data


def lying(**entry: Any) -> bytes:
    """Return the sound file with another entry for A."""
    return packed(json.dumps({**HEADER, A: {**HEADER[A], **entry}}).encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapter")


def refused_or_sound(folder: Path, weights: bytes, config: bytes) -> str | None:
    """Read such a folder; return the refusal. What is taken is finite and as large as the file."""
    (folder / WEIGHTS).write_bytes(weights)
    (folder / CONFIG).write_bytes(config)
    tracemalloc.start()
    try:
        adapter = read_adapter(folder)
        for factors in adapter.factors:
            assert np.isfinite(factors.scale)
            assert factors.scale
            assert factors.a.nbytes + factors.b.nbytes <= 2 * len(weights)  # BF16 is read as float32
            assert factors.a.shape == (factors.rank, factors.widths[0])
    except AdapterRefused as refused:
        return str(refused)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100 * (len(weights) + len(config)) + 2**23
    return None


def test_the_sound_one_is_read(folder: Path) -> None:
    assert refused_or_sound(folder, SOUND, json.dumps(CONFIGURATION).encode()) is None


HOSTILE = {
    "nothing": b"",
    "less than a length": b"\x08\x00",
    "a length of exabytes": packed(b"{}", size=2**63),
    "the longest length": packed(b"{}", size=2**64 - 1),
    "a length beyond the file": packed(b"{}", b"", size=10**9),
    "a pickle": b"\x80\x04\x95" + b"\x00" * 40,
    "a zip": b"PK\x03\x04" + b"\x00" * 60,
    "no JSON": packed(b"{nonsense"),
    "deep JSON": packed(DEEP),
    "deep objects": packed(b'{"a":' * 50_000),
    "a list": packed(b"[]"),
    "bytes that are no text": packed(b"\xff\xfe{}"),
    "terabytes": lying(shape=[2**40, 4]),
    "a shape that overflows": lying(shape=[2**32, 2**32]),
    "a shape that overflows to zero": lying(shape=[2**63, 2]),
    "nothing times everything": lying(shape=[0, 2**63], data_offsets=[0, 0]),
    "a huge empty side": lying(shape=[2**62, 0], data_offsets=[0, 0]),
    "a negative shape": lying(shape=[-2, -4]),
    "a shape of fractions": lying(shape=[2.0, 4.0]),
    "a shape of texts": lying(shape=["2", "4"]),
    "no shape": lying(shape=None),
    "a scalar": lying(shape=[]),
    "three axes": lying(shape=[1, 2, 4]),
    "offsets beyond the file": lying(data_offsets=[0, 10**12]),
    "offsets that run backwards": lying(data_offsets=[32, 0]),
    "offsets that overlap": lying(data_offsets=[8, 40]),
    "negative offsets": lying(data_offsets=[-32, 0]),
    "a hole": lying(data_offsets=[24, 56]),
    "whole numbers": lying(dtype="I32"),
    "an unknown dtype": lying(dtype="F4096"),
    "a dtype of another size": lying(dtype="F64"),
    "one name twice": packed(
        json.dumps(HEADER).encode()[:-1] + b"," + json.dumps({A: HEADER[A]}).encode()[1:],
    ),
    "ten thousand tensors of nothing": packed(
        json.dumps(
            {f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(20_000)}
        ).encode()
    ),
    "a layer without end": SOUND.replace(b"layers.0.", b"layers." + b"0" * 5),
    "data cut off": SOUND[:-1],
    "data too long": SOUND + b"\x00",
}


@pytest.mark.parametrize("weights", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_weights_are_refused(folder: Path, weights: bytes) -> None:
    assert refused_or_sound(folder, weights, json.dumps(CONFIGURATION).encode())


@given(near(HEADER) | JSON, st.binary(max_size=4))
def test_any_header_is_refused_or_sound(folder: Path, header: Any, more: bytes) -> None:
    refused_or_sound(folder, packed(json.dumps(header).encode(), DATA + more), json.dumps(CONFIGURATION).encode())


@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_any_byte_may_be_wrong(folder: Path, changes: list[tuple[int, int]]) -> None:
    weights = bytearray(SOUND)
    for at, value in changes:
        weights[at] = value
    refused_or_sound(folder, bytes(weights), json.dumps(CONFIGURATION).encode())


@given(near(CONFIGURATION) | JSON)
def test_any_configuration_is_refused_or_sound(folder: Path, config: Any) -> None:
    refused_or_sound(folder, SOUND, json.dumps(config).encode())


@pytest.mark.parametrize(
    "patterns",
    [
        {"rank_pattern": {"(" * 200: 2}},
        {"rank_pattern": {"(": 2}},
        {"rank_pattern": ["q_proj"]},
        {"rank_pattern": {"q_proj": 0}},
        {"rank_pattern": {"q_proj": "2"}},
        {"alpha_pattern": {"q_proj": 10**400}},
        {"alpha_pattern": {"q_proj": "many"}},
        {"alpha_pattern": {"q_proj": None}},
        {"alpha_pattern": {"q_proj": float("nan")}},
        {"alpha_pattern": {"q_proj": 0}},
        {"lora_alpha": 10**400},
        {"lora_alpha": True},
        {"r": True},
        {"rank_pattern": {r"([\w.]+)+x": 2}},
        {"rank_pattern": {".?" * 60 + "x": 2}},
        {"alpha_pattern": {"q_proj": 1e300}},
        {"bias": ["none"]},
        {"use_dora": "no"},
    ],
    ids=lambda patterns: repr(patterns)[:60],
)
def test_hostile_configurations_are_refused(folder: Path, patterns: dict[str, Any]) -> None:
    assert refused_or_sound(folder, SOUND, json.dumps({**CONFIGURATION, **patterns}).encode())


@pytest.mark.parametrize(
    "config", [b"", b"\xff", DEEP, b'{"a":' * 50_000, b"[]", b"null", b'{"r":' + b"9" * 5000 + b"}"]
)
def test_configurations_that_cannot_be_read_are_refused(folder: Path, config: bytes) -> None:
    assert refused_or_sound(folder, SOUND, config)


ENTRY = Entry(
    *("core-0123", "core-0123456789ab", (Part("core", 1.0, "./core", "0" * 64),), "some/base", False, "exact"),
    *( 1e-7, 8, 8, ("q_proj",), 1, 100, 100, "0" * 64, None),
)  # fmt: skip
MANIFEST = json.loads(json.dumps({"version": 1, "sources": ".", "blends": [as_data(ENTRY)]}))
OUTSIDE = (
    *("../x-0123456789ab", "/etc/x-0123456789ab", "a/../b-0123456789ab", "", ".", "..", "x-0123456789ab/../.."),
    *("x\x00-0123456789ab", "x-0123456789ab\n", "~-0123456789ab", "C:\\x-0123456789ab", "-0123456789ab"),
)


@given(near(MANIFEST) | JSON)
def test_any_manifest_is_refused_or_sound(folder: Path, content: Any) -> None:
    (folder / FILE).write_text(json.dumps(content))
    try:
        manifest = read_manifest(folder)
    except ManifestInvalid:
        return
    write_manifest(folder, manifest)
    assert read_manifest(folder) == Manifest(
        tuple(sorted(manifest.entries, key=lambda entry: entry.blend)), manifest.sources
    )
    for entry in manifest.entries:
        assert (folder / entry.folder).resolve().parent == folder.resolve()


@pytest.mark.parametrize("served", OUTSIDE)
def test_no_manifest_leads_out_of_its_folder(folder: Path, served: str) -> None:
    (folder / FILE).write_text(json.dumps({**MANIFEST, "blends": [{**MANIFEST["blends"][0], "served": served}]}))
    with pytest.raises(ManifestInvalid):
        read_manifest(folder)


@pytest.mark.parametrize("raw", [b"", b"\xff", DEEP, b'{"version": 1, "blends": ' + DEEP])
def test_unreadable_manifests_receipts_and_references_are_refused(folder: Path, raw: bytes) -> None:
    for name in (FILE, NAME, "composed.json"):
        (folder / name).write_bytes(raw)
    with pytest.raises(ManifestInvalid):
        read_manifest(folder)
    with pytest.raises(ReferenceInvalid):
        read_reference(folder)
    assert read_receipt(folder) is None


LINE = {"prompt": "p", "tokens": ["a"], "logprobs": [-0.5]}


@given(near({"version": 1, "blends": {"core-0": [LINE]}, "base": [LINE], "computed_by": "peft"}) | JSON)
def test_any_reference_is_refused_or_sound(folder: Path, content: Any) -> None:
    (folder / NAME).write_text(json.dumps(content))
    try:
        reference = read_reference(folder)
    except ReferenceInvalid:
        return
    assert reference is not None
    for line in (*reference.base, *chain.from_iterable(reference.blends.values())):
        assert all(np.isfinite(line.logprobs))


@given(
    st.text(max_size=20)
    | st.from_regex(r"hub:[\w./@~-]{0,30}")
    | st.sampled_from(["../" * 30, "/dev/zero", "~", "\x00"])
)
def test_any_source_is_a_folder_with_an_adapter_or_refused(folder: Path, source: str) -> None:
    if "@" in source:
        return  # a well-formed one is asked of the hub
    with pytest.raises(SourceRefused):
        resolve(source, folder / "nothing")


def test_a_link_that_leads_nowhere_or_to_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(json.dumps(CONFIGURATION))
    for target in ("/dev/zero", "/dev/null", str(tmp_path / WEIGHTS), "nowhere"):
        (tmp_path / WEIGHTS).unlink(missing_ok=True)
        (tmp_path / WEIGHTS).symlink_to(target)
        with pytest.raises(AdapterRefused, match=WEIGHTS):
            read_adapter(tmp_path)
