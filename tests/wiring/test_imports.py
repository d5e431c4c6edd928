"""What a starting service loads: heavy vendors only where they are used."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ["torch", "peft", "litellm", "sentence_transformers", "transformers", "xllamacpp", "huggingface_hub"]


def test_no_heavy_module_is_loaded_at_start_up() -> None:
    loads = "import sys, json, router.wiring.app, router.cli.serve"
    code = f"{loads}; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_the_command_line_itself_loads_no_service() -> None:
    code = (
        "import sys, router.cli.main; print([m for m in ('fastapi', 'numpy', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
