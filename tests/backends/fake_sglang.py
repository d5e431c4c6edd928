"""An SGLang server as far as the wire shows it, with its documented misbehaviour. Knows no router code.

Only what stands behind a colon is looked for: any other `model`, the bare adapter name that /v1/models shows
included, is answered by the *base* with status 200 and echoed back. Facts: SGLang 0.5.23 srt/entrypoints
(http_server.py, openai/serving_base.py, openai/protocol.py) and srt/lora/lora_registry.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.backends.fake_engine import BASE_SPEAKS, FakeEngine, Seen


@dataclass
class FakeSglang(FakeEngine):
    """See FakeEngine. `folders` are the paths that exist on the engine's machine."""

    folders: set[str] = field(default_factory=set)
    context: int = 4096

    def _routes(self, app: web.Application) -> None:
        app.router.add_post("/load_lora_adapter", self._handled(self._load))
        app.router.add_post("/unload_lora_adapter", self._handled(self._unload))

    def _error(self, status: int, kind: str, message: str, param: str | None = None) -> object:
        return {"object": "error", "message": message, "type": kind, "param": param, "code": status}

    def _speaker(self, body: Mapping[str, Any]) -> tuple[str, str]:
        if body.get("max_tokens", 0) > self.context:
            raise self.refuse(
                400,
                "BadRequestError",
                f"Requested token count exceeds the model's maximum context length of {self.context} tokens.",
            )
        model = str(body.get("model", "default"))
        _, colon, adapter = model.partition(":")
        if not colon:
            return BASE_SPEAKS, model
        if adapter not in self.adapters:
            raise self.refuse(
                400,
                "BadRequestError",
                f"The following requested LoRA adapters are not loaded: {adapter}\n"
                f"Loaded adapters: {self.adapters.keys()}.",
            )
        return adapter, model

    async def _load(self, _: web.Request, seen: Seen) -> web.StreamResponse:
        name, path = seen.body["lora_name"], seen.body["lora_path"]
        why = None
        if name in self.adapters:
            why = f"Failed to load LoRA adapter {name}: LoRA adapter {name} is already loaded."
        elif path not in self.folders:
            why = f"Failed to load LoRA adapter {name}: {path} is neither a folder nor a repository."
        else:
            self.adapters[name] = path
        return self._updated(why)

    async def _unload(self, _: web.Request, seen: Seen) -> web.StreamResponse:
        name = seen.body["lora_name"]
        why = None if self.adapters.pop(name, None) else f"LoRA adapter {name} is not loaded."
        return self._updated(why)

    def _updated(self, why: str | None) -> web.Response:
        body = {"rid": None, "success": why is None, "error_message": why, "loaded_adapters": self.adapters}
        return web.json_response(body, status=400 if why else 200)
