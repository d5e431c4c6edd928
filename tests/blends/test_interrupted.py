"""A build that is killed in the middle: the last good manifest stays, nobody works on, the next one cleans up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from blends.build import build
from blends.manifest import FILE, read_manifest
from tests.blends.small import built_folders, spec, write_adapter

ROOT = Path(__file__).parents[2]
# Wide enough that composing them all takes seconds: the kill comes in the middle.
SHAPES = {"self_attn.q_proj": (2048, 2048), "mlp.up_proj": (2048, 4096)}
COUNT = 12
CHILD = """
import sys
from pathlib import Path
from blends.build import build
from tests.blends.small import spec

if __name__ == "__main__":
    sources, out, jobs, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    specs = [spec(("core", 1.0 + n / 100), ("physics", 0.8)) for n in range(count)]
    specs = [__import__("dataclasses").replace(s, id=f"{s.id}-{n}") for n, s in enumerate(specs)]
    build(specs, out, sources, jobs, lambda done, total, what: print(done, total, what, flush=True))
"""


def stopped_inside(processes: list[psutil.Process], out: Path) -> bool:
    """Stop everybody when a folder is half written, so that the kill is sure to come then."""
    time.sleep(0.002)
    if not list(out.glob(".scratch-*/*.safetensors")):
        return False
    for process in processes:
        process.suspend()
    if list(out.glob(".scratch-*/*.safetensors")):
        return True
    for process in processes:
        process.resume()
    return False


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_build_leaves_the_last_good_manifest(tmp_path: Path, jobs: int) -> None:
    sources, out = tmp_path / "sources", tmp_path / "built"
    write_adapter(sources / "core", 16, 1, shapes=SHAPES, layers=6)
    write_adapter(sources / "physics", 8, 2, shapes=SHAPES, layers=6)
    good = build([spec(("core", 1.0))], out, sources).manifest
    before = (out / FILE).read_bytes()
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    child = subprocess.Popen(
        [sys.executable, str(script), str(sources), str(out), str(jobs), str(COUNT)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    for line in child.stdout:  # until two are done
        if line.startswith("2 "):
            break
    workers = psutil.Process(child.pid).children(recursive=True)
    while not stopped_inside([psutil.Process(child.pid), *workers], out):
        assert child.poll() is None, "the build was over before it could be killed: make it larger"
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(20) == -signal.SIGKILL
    assert [name for name in built_folders(out) if name.startswith(".scratch")]
    for worker in workers:
        worker.resume()
    gone, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []
    assert len(gone) >= (jobs if jobs > 1 else 0)

    assert (out / FILE).read_bytes() == before
    assert read_manifest(out) == good
    done = built_folders(out)
    specs = [spec(("core", 1.0 + n / 100), ("physics", 0.8)) for n in range(3)]
    again = build(specs[:1], out, sources)
    assert not [name for name in built_folders(out) if name.startswith(".scratch")]
    assert set(again.reused) <= done  # what was whole is used, what was half is not
    assert built_folders(out) >= {entry.served for entry in [*again.manifest.entries, *good.entries]}
