"""What may be imported where, beyond the names that import-linter is told; and what a starting service loads."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PURE = [*sorted((ROOT / "router" / "core").glob("*.py")), ROOT / "router" / "ports.py"]
HEAVY = [
    *("torch", "peft", "litellm", "sentence_transformers", "transformers", "xllamacpp", "huggingface_hub"),
    *("sklearn", "scipy"),
]


def test_no_heavy_module_is_loaded_at_start_up() -> None:
    loads = "import sys, json, router.wiring.app, router.cli.serve, router.cli.server"
    code = f"{loads}; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("module", ["router.cli.main", "router.cli.serve", "router.cli.workers"])
def test_neither_the_command_line_nor_who_looks_after_workers_loads_a_service(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('fastapi', 'numpy', 'onnxruntime') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def imported(file: Path) -> Iterator[str]:
    """Yield every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports are not used here"
            yield node.module or ""


@pytest.mark.parametrize("file", PURE, ids=lambda file: file.name)
def test_core_and_ports_know_the_standard_library_alone(file: Path) -> None:
    foreign = {
        module
        for module in imported(file)
        if module.split(".")[0] not in sys.stdlib_module_names and not f"{module}.".startswith("router.core.")
    }
    assert foreign == set()


def test_policies_and_deploy_are_no_packages_and_every_test_folder_is_one() -> None:
    assert not list((ROOT / "policies").rglob("__init__.py"))
    assert not list((ROOT / "deploy").rglob("__init__.py"))
    folders = {file.parent for file in (ROOT / "tests").rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []
