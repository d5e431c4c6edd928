"""What composing costs: seconds and peak memory for a pair of 8B shape, and how builds grow with their number.

    python -m bench.compose [--json]

The pair is synthetic (random bf16 factors, rank 16 and 8, all seven linear modules of Llama-3.1-8B's 32 layers):
time and memory do not depend on the values. Memory is the peak resident size of a process of its own that does
nothing but compose, less what it held when its imports were done.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from blends.adapter import CONFIG, WEIGHTS, read_adapter
from blends.compose import Member, compose

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


def _peak() -> int:
    """Peak resident bytes of this process (VmHWM; getrusage's figure would start at the parent's)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@click.command()
@click.option("--json", "as_data", is_flag=True, help="Print JSON for programs.")
@click.option(
    "--one", type=click.Path(path_type=Path), hidden=True, help="Compose one pair and print what it took."
)
def main(as_data: bool, one: Path | None) -> None:
    """Measure the composer."""
    if one is not None:
        click.echo(json.dumps(compose_one(one)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        pair = measure_pair(Path(scratch) / "pair")
    if as_data:
        click.echo(json.dumps({"pair": pair}, indent=2))
        return
    ratio = pair["peak_bytes"] / pair["output_bytes"]
    click.echo(
        f"8B shape, ranks 16 + 8 -> {pair['bucket']:.0f}, all linear modules: {pair['seconds']:.1f} s, "
        f"{pair['output_bytes'] / 1e6:.0f} MB written, peak memory {pair['peak_bytes'] / 1e6:.0f} MB "
        f"({ratio:.2f} x the output), relative error {pair['error']:.1e}"
    )


if __name__ == "__main__":
    main()
