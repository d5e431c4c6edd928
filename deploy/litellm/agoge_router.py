"""LiteLLM proxy plugin: for `model: auto` Agoge decides, and the deployment named after the blend answers.

One file beside config.yaml, named there in `litellm_settings: {callbacks: [agoge_router.agoge_router]}`; it needs
nothing but the proxy's own packages. Settings, from the environment: AGOGE_API_BASE (http://127.0.0.1:8080/v1),
AGOGE_API_KEY, AGOGE_TIMEOUT (10 seconds). Knows no adapter and no engine. See docs/litellm.md.

Either exactly the decided blend answers or nobody does: LiteLLM's fallbacks, aliases, wildcards and what a client
can override per request are all closed here, because behind each of them waits another model.
Source: litellm 1.106.2 (integrations/custom_logger.py, proxy/common_request_processing.py, router.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import httpx
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import ProxyException

AUTO = "auto"
CHAT = ("acompletion", "completion")
FALLBACKS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")

_ELSEWHERE = ("api_base", "base_url", "api_key", "user_config", "router_settings_override")
_OTHER_ADAPTERS = ("extra_body", "adapter_id", "lora", "lora_path", "lora_request", "chat_template")
DROPPED = (*FALLBACKS, *_ELSEWHERE, *_OTHER_ADAPTERS, "mock_response", "prompt_id")
"""What a request may not bring along: it would send the prompt elsewhere, or put other adapters to it."""


class AgogeRouter(CustomLogger):
    """The hooks that the proxy calls before a request, and for the headers of its answer."""

    def __init__(self) -> None:
        super().__init__()
        self._client: httpx.AsyncClient | None = None

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        """Turn a request for `auto` into one for its blend. Raises ProxyException when that cannot be."""
        metadata = data.get("metadata")
        if isinstance(metadata, MutableMapping):
            metadata.pop("agoge", None)  # a client's own metadata comes in here too
        if data.get("model") != AUTO:
            return data
        if call_type not in CHAT:
            message = f"{AUTO} answers /v1/chat/completions only, not {call_type}"
            raise _refusal(400, "invalid_request", message, "model")
        router = _proxy_router()
        _check_fallbacks(router, getattr(user_api_key_dict, "router_settings", None))
        told, headers = await self._decide(data)
        blend, for_engine = told["blend"], told["for_engine"]
        _check_deployment(router, blend, getattr(user_api_key_dict, "team_id", None))
        for name in DROPPED:
            data.pop(name, None)
        data["disable_fallbacks"] = True
        data["model"] = blend
        if for_engine["confirmation"] is None:
            data["messages"] = for_engine["messages"]
        else:  # nothing but a directive: LiteLLM gives this answer itself, and calls no engine
            data["mock_response"] = for_engine["confirmation"]
            headers["x-agoge-backend"] = "router"
        data["metadata"] = {**(data.get("metadata") or {}), "agoge": headers}
        return data

    async def async_post_call_response_headers_hook(
        self, data: dict[str, Any], user_api_key_dict: Any, response: Any, **_: Any
    ) -> dict[str, str] | None:
        """Return the decision as the headers that Agoge itself would have sent."""
        headers = (data.get("metadata") or {}).get("agoge")
        return dict(headers) if isinstance(headers, Mapping) else None

    async def _decide(self, data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Ask Agoge; return the decision and its headers. Raises ProxyException with Agoge's own refusal."""
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=float(os.environ.get("AGOGE_TIMEOUT", "10")))
        url = os.environ.get("AGOGE_API_BASE", "http://127.0.0.1:8080/v1").rstrip("/")
        key = os.environ.get("AGOGE_API_KEY")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        if call_id := data.get("litellm_call_id"):
            headers["x-request-id"] = str(call_id)
        asked = {"messages": data.get("messages"), "model": AUTO, "for_engine": True}
        try:
            reply = await self._client.post(f"{url}/decisions", json=asked, headers=headers)
            told = reply.json()
        except (httpx.HTTPError, ValueError) as error:
            message = f"Agoge at {url} gave no decision ({type(error).__name__}); nobody answers without one"
            raise _refusal(503, "router_unreachable", message) from None
        if reply.status_code != 200:
            error = told.get("error") if isinstance(told, dict) else None
            error = error if isinstance(error, dict) else {"message": f"Agoge answered {reply.status_code}"}
            code, message = error.get("code") or "router_failed", str(error.get("message"))
            raise _refusal(reply.status_code, code, message, error.get("param"), error.get("type"))
        if not isinstance(told.get("for_engine"), dict) or not told.get("blend"):
            raise _refusal(502, "router_failed", f"Agoge at {url} is too old: it knows no for_engine; update it")
        return told, {name: value for name, value in reply.headers.items() if name.startswith("x-agoge-")}


def _proxy_router() -> Any:
    from litellm.proxy import proxy_server  # as it is now: the proxy replaces it when models are added

    if proxy_server.llm_router is None:
        raise _refusal(503, "blend_unavailable", "the proxy has no model_list; add one deployment per blend")
    return proxy_server.llm_router


def _check_fallbacks(router: Any, of_key: object) -> None:
    """Raise ProxyException where the proxy would put another model in place of `auto` behind our back.

    A rate limit of the proxy's own falls back before this plugin is asked, and default_fallbacks replace a
    deployment that is cooling down; `disable_fallbacks` reaches neither.
    """
    places: list[Mapping[str, Any]] = [{name: getattr(router, name, None) for name in FALLBACKS}]
    if isinstance(of_key, Mapping):
        places.append(of_key)
    for place in places:
        for name in FALLBACKS:
            for entry in place.get(name) or ():
                if not isinstance(entry, Mapping) or entry.keys() & {AUTO, "*"}:
                    message = (
                        f"the proxy's {name} cover {AUTO}, or every model (default_fallbacks, '*'): "
                        "another model would answer for the decided one; name the models that it is for"
                    )
                    raise _refusal(500, "fallbacks_forbidden", message)


def _check_deployment(router: Any, blend: str, team: str | None) -> None:
    """Raise ProxyException unless whatever LiteLLM could choose for `blend` asks its engine for that blend.

    An engine answers for the name that it is sent: any other name there is another blend, or the bare base model.
    """
    named = any(deployment["model_name"] == blend for deployment in router.model_list)
    if not named:  # though a wildcard or an alias may match
        message = f"no deployment of the proxy is named {blend}; add it to model_list; no other model may answer"
        raise _refusal(503, "blend_unavailable", message)
    deployments: Sequence[Mapping[str, Any]] = router.get_model_list(model_name=blend, team_id=team) or ()
    for deployment in deployments:  # with what aliases and routing groups put beside it
        upstream = str(deployment["litellm_params"]["model"])
        if upstream.rpartition("/")[2] != blend:
            message = (
                f"the deployment {blend} would ask its engine for {upstream!r}, which is not this blend; its "
                f"litellm_params.model must end in /{blend}"
            )
            raise _refusal(503, "blend_unavailable", message)


def _refusal(
    status: int, code: str, message: str, param: str | None = None, kind: str | None = None
) -> ProxyException:
    """Return what the proxy turns into OpenAI's error object; LiteLLM writes the status into `code` itself."""
    kind = kind or ("invalid_request_error" if status < 500 else "server_error")
    headers = {"x-should-retry": "true" if status in (429, 502, 503, 504) else "false", "x-agoge-error": code}
    return ProxyException(message, kind, param, status, headers, code, {"code": code})


agoge_router = AgogeRouter()
