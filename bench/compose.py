"""What composing costs: seconds and peak memory for a pair of 8B shape, and how builds grow with their number.

    python -m bench.compose [--blends 10 --blends 100 --blends 1000] [--json]

The pair is synthetic (random bf16 factors, rank 16 and 8, all seven linear modules of Llama-3.1-8B's 32 layers):
time and memory do not depend on the values. Memory is the peak resident size of a process of its own that does
nothing but compose, less what it held when its imports were done. Builds are of pairs and triples out of a pool of
small adapters (two layers, rank 8): what grows there is the bookkeeping. Each is built, built again with nothing
to do, and built again after one adapter was retrained.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import chain, combinations, islice
from pathlib import Path
from typing import Any

import click
import numpy as np

from blends.adapter import CONFIG, WEIGHTS, read_adapter
from blends.build import build
from blends.compose import Member, compose
from blends.spec import Spec

BASE = "meta-llama/Llama-3.1-8B"
LAYERS = 32
# module -> (inputs, outputs), from the model's config.json: hidden 4096, intermediate 14336, 8 KV heads of 128
SHAPES = {
    "self_attn.q_proj": (4096, 4096),
    "self_attn.k_proj": (4096, 1024),
    "self_attn.v_proj": (4096, 1024),
    "self_attn.o_proj": (4096, 4096),
    "mlp.gate_proj": (4096, 14336),
    "mlp.up_proj": (4096, 14336),
    "mlp.down_proj": (14336, 4096),
}
SMALL_LAYERS = 2
SMALL = {"self_attn.q_proj": (64, 64), "self_attn.v_proj": (64, 32)}
POOL = 20  # adapters to choose from: 190 pairs and 1140 triples


def write_adapter(folder: Path, rank: int, shapes: dict[str, tuple[int, int]], layers: int, seed: int) -> None:
    """Write a random adapter as a training run leaves it: PEFT's names, bf16, alpha twice the rank."""
    chance = np.random.default_rng(seed)
    header: dict[str, Any] = {}
    blocks: list[bytes] = []
    offset = 0
    for layer in range(layers):
        for module, (inputs, outputs) in shapes.items():
            for side, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
                values = chance.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
                data = (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
                name = f"base_model.model.model.layers.{layer}.{module}.lora_{side}.weight"
                header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + len(data)]}
                offset += len(data)
                blocks.append(data)
    folder.mkdir(parents=True)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / WEIGHTS).open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.writelines(blocks)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "base_model_name_or_path": BASE}
    (folder / CONFIG).write_text(json.dumps(config))


def measure_pair(folder: Path) -> dict[str, float]:
    """Compose core (rank 16) and physics (rank 8) in a process of its own; seconds and bytes."""
    write_adapter(folder / "core", 16, SHAPES, LAYERS, 1)
    write_adapter(folder / "physics", 8, SHAPES, LAYERS, 2)
    run = subprocess.run(
        [sys.executable, "-m", "bench.compose", "--one", str(folder)], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(run.stdout)
    return found


def compose_one(folder: Path) -> dict[str, float]:
    """Compose `folder`/core and /physics into /both; what it took."""
    import safetensors.numpy  # noqa: F401 - counted as start-up, not as composing

    before = _peak()
    started = time.perf_counter()
    made = compose(
        [Member(read_adapter(folder / "core"), 1.0), Member(read_adapter(folder / "physics"), 0.8)],
        BASE,
        folder / "both",
    )
    return {
        "seconds": time.perf_counter() - started,
        "output_bytes": made.bytes,
        "peak_bytes": _peak() - before,
        "rank": made.rank,
        "bucket": made.bucket,
        "error": made.error,
    }


def measure_build(folder: Path, count: int) -> dict[str, float]:
    """Build `count` blends, build them again, retrain one adapter and build again; seconds, and bytes on disk."""
    for number in range(POOL):
        write_adapter(folder / f"a{number}", 8, SMALL, SMALL_LAYERS, number)
    names = [f"a{number}" for number in range(POOL)]
    sets = islice(chain(combinations(names, 2), combinations(names, 3)), count)
    specs = [
        Spec(f"{'+'.join(each)}-{number:012x}", tuple((name, 1.0, f"./{name}") for name in each), BASE)
        for number, each in enumerate(sets)
    ]
    found = {"blends": float(len(specs))}
    for what in ("first", "nothing_new"):
        found[f"{what}_seconds"] = _timed_build(specs, folder)
    shutil.rmtree(folder / "a0")
    write_adapter(folder / "a0", 8, SMALL, SMALL_LAYERS, POOL)
    found["one_retrained_seconds"] = _timed_build(specs, folder)
    found["bytes"] = float(sum(file.stat().st_size for file in (folder / "out").rglob("*") if file.is_file()))
    return found


def _timed_build(specs: list[Spec], folder: Path) -> float:
    started = time.perf_counter()
    build(specs, folder / "out", folder, prune_unnamed=True)
    return time.perf_counter() - started


def _peak() -> int:
    """Peak resident bytes of this process (VmHWM; getrusage's figure would start at the parent's)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@click.command()
@click.option("--json", "as_data", is_flag=True, help="Print JSON for programs.")
@click.option(
    "--one", type=click.Path(path_type=Path), hidden=True, help="Compose one pair and print what it took."
)
@click.option(
    "--blends",
    "counts",
    type=int,
    multiple=True,
    default=(10, 100, 1000),
    show_default=True,
    help="Sizes of builds.",
)
def main(as_data: bool, one: Path | None, counts: tuple[int, ...]) -> None:
    """Measure the composer."""
    if one is not None:
        click.echo(json.dumps(compose_one(one)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        pair = measure_pair(Path(scratch) / "pair")
        builds = [measure_build(Path(scratch) / str(count), count) for count in counts]
    if as_data:
        click.echo(json.dumps({"pair": pair, "builds": builds}, indent=2))
        return
    ratio = pair["peak_bytes"] / pair["output_bytes"]
    click.echo(
        f"8B shape, ranks 16 + 8 -> {pair['bucket']:.0f}, all linear modules: {pair['seconds']:.1f} s, "
        f"{pair['output_bytes'] / 1e6:.0f} MB written, peak memory {pair['peak_bytes'] / 1e6:.0f} MB "
        f"({ratio:.2f} x the output), relative error {pair['error']:.1e}"
    )
    for found in builds:
        click.echo(
            f"{found['blends']:.0f} blends: {found['first_seconds']:.1f} s, "
            f"again {found['nothing_new_seconds']:.1f} s, "
            f"after one of {POOL} adapters was retrained {found['one_retrained_seconds']:.1f} s; "
            f"{found['bytes'] / 1e6:.1f} MB on disk"
        )


if __name__ == "__main__":
    main()
