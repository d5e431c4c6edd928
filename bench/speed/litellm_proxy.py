"""A real LiteLLM proxy as a process: `python -m bench.speed.litellm_proxy PORT PEERS`, and what configures it.

As its documentation has it for production: one worker per core, the errors alone logged, no documentation pages,
no database, no keys to look up, uvloop and httptools where they are installed. Plain models go straight to the
engine; `auto` is its auto-router, whose encoder has to be an embeddings route: `bench.speed.embedder` serves the
weights that our own classifier uses.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.ports import free_port
from bench.speed import peers
from bench.speed.processes import Served, process

ROUTES = 100  # exemplars of each label that the auto-router holds; it embeds each of them when it is first asked
QUIET = {
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no look at the network
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # nor has ours keys to look up
    "NO_DOCS": "True",
    "NO_REDOC": "True",
}


def configuration(engine: str, embedder: str, exemplars: Path) -> dict[str, Any]:
    """Return the proxy's config.yaml: models at `engine`, the auto-router's encoder at `embedder`."""
    texts: dict[str, list[str]] = defaultdict(list)
    for line in exemplars.read_text("utf-8").splitlines():
        row = json.loads(line)
        if len(texts[row["label"]]) < ROUTES:
            texts[row["label"]].append(row["text"])
    routes = [{"name": label, "utterances": some, "score_threshold": 0.3} for label, some in texts.items()]
    models = [_model(name, f"hosted_vllm/{name}", engine) for name in ("core", *texts)]
    auto = {
        "model": "auto_router/auto",
        "auto_router_config": json.dumps({"routes": routes}, ensure_ascii=False),
        "auto_router_default_model": "core",
        "auto_router_embedding_model": "encoder",
    }
    return {
        "model_list": [
            *models,
            _model("encoder", "openai/encoder", embedder),
            {"model_name": "auto", "litellm_params": auto},
        ],
        "litellm_settings": {"telemetry": False, "set_verbose": False, "turn_off_message_logging": True},
        "router_settings": {"num_retries": 0},
        "general_settings": {"disable_spend_logs": True, "disable_error_logs": True},
    }


def _model(name: str, model: str, server: str) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": model, "api_base": f"{server}/v1", "api_key": "none"}}


@contextmanager
def litellm(
    engine: str, embedder: str, exemplars: Path, folder: Path, cores: Sequence[int] | None
) -> Iterator[Served]:
    """Run a proxy until the end of the block. `folder` holds the peers. Raises LoadFailed."""
    url = f"http://127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "config.yaml"  # JSON is YAML
        config.write_text(json.dumps(configuration(engine, embedder, exemplars), ensure_ascii=False), "utf-8")
        command = ["bench.speed.litellm_proxy", url.rpartition(":")[2], str(folder)]
        environment = {**QUIET, "CONFIG_FILE_PATH": str(config)}
        with process(command, url, "/health/liveliness", cores=cores, environment=environment) as served:
            yield served


def main() -> None:
    """Serve on the loopback port given first."""
    import uvicorn

    peers.use(Path(sys.argv[2]), autorouter=True)
    uvicorn.run(
        "litellm.proxy.proxy_server:app",
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="critical",
        access_log=False,
    )


if __name__ == "__main__":
    main()
