"""A vLLM server as far as the wire shows it, with its documented misbehaviour. Knows no router code.

It answers 404 for a name that it does not hold, unless `skips_validation`: then, and for a request without a
`model`, the base speaks with status 200. Facts: vLLM 0.33.0 entrypoints/openai (models/serving.py,
engine/serving.py) and entrypoints/serve/lora.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.backends.fake_engine import BASE_SPEAKS, FakeEngine, Seen


@dataclass
class FakeVllm(FakeEngine):
    """See FakeEngine. `folders` are the paths that exist on the engine's machine.

    `echoes` makes a skipped validation answer with the asked name in `model`, as no vLLM does: the worst case.
    """

    skips_validation: bool = False
    echoes: bool = False
    runtime_updates: bool = True
    folders: set[str] = field(default_factory=set)
    max_model_len: int = 4096

    def _routes(self, app: web.Application) -> None:
        app.router.add_post("/v1/load_lora_adapter", self._handled(self._load))
        app.router.add_post("/v1/unload_lora_adapter", self._handled(self._unload))

    def _error(self, status: int, kind: str, message: str, param: str | None = None) -> object:
        return {"error": {"message": message, "type": kind, "param": param, "code": status}}

    def _speaker(self, body: Mapping[str, Any]) -> tuple[str, str]:
        model = body.get("model")
        if body.get("max_tokens", 0) > self.max_model_len:
            raise self.refuse(
                400,
                "BadRequestError",
                f"This model's maximum context length is {self.max_model_len} tokens. However, you requested "
                f"{body['max_tokens']} output tokens. Please reduce the length of the messages or completion.",
            )
        if body.get("temperature", 0) < 0:
            raise self.refuse(400, "BadRequestError", "temperature must be non-negative, got -1.0.", "temperature")
        if model in self.adapters:
            return str(model), str(model)
        if not model or model == self.base:
            return BASE_SPEAKS, self.base
        if self.skips_validation:
            return BASE_SPEAKS, str(model) if self.echoes else self.base
        raise self.refuse(
            404, "NotFoundError", f"The model `{model}` does not exist. Valid aliases: {self.base}.", "model"
        )

    async def _load(self, _: web.Request, seen: Seen) -> web.StreamResponse:
        self._check_updates()
        name, path = seen.body["lora_name"], seen.body["lora_path"]
        if name in self.adapters:
            raise self.refuse(400, "InvalidUserInput", f"The lora adapter '{name}' has already been loaded.")
        if path not in self.folders:
            raise self.refuse(404, "NotFoundError", f"Loading lora {name} failed: No adapter found for {path}")
        if "rank-256" in path:
            raise self.refuse(500, "InternalServerError", "LoRA rank 256 is greater than max_lora_rank 16.")
        self.adapters[name] = path
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, _: web.Request, seen: Seen) -> web.StreamResponse:
        self._check_updates()
        name = seen.body["lora_name"]
        if name not in self.adapters:
            raise self.refuse(404, "NotFoundError", f"The lora adapter '{name}' cannot be found.")
        del self.adapters[name]
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")

    def _check_updates(self) -> None:
        if not self.runtime_updates:
            refusal = self.refuse(404, "", "")
            refusal.body = {"detail": "Not Found"}
            raise refusal
