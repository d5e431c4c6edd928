"""A Hugging Face Inference Endpoint or a remote TGI through huggingface_hub. The only module that imports it.

Behind the endpoint stands TGI with all its traps, so the registry of names is closed here too and every request
names its model: huggingface_hub sends `model: "dummy"` otherwise, which TGI answers from the bare base model.
Four habits of `AsyncInferenceClient` are dealt with here, and shown in tests/backends/test_hub.py:

- it keeps a callback and the response of every stream until the whole client is closed, so clients are recycled;
- without a token it sends the one it finds on this machine, to any URL: only the token given here may travel;
- its headers belong to the client and not to a call, which reads them before it lets anybody else run: so what
  they say of one request is set just before its call;
- its timeout is one number, and it raises whatever its HTTP library raises (httpx, or httpx2 from 2.0 on).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from router.backends.chat_events import ChatEvents
from router.backends.chat_request import naming, template_messages, tgi_parameters
from router.backends.failures import failure, stream_failure
from router.backends.holding import Published, holding, served_name
from router.backends.timeouts import Deadline, Timeouts
from router.backends.token_logprobs import TOP, tgi_tokens
from router.core.errors import BackendBroken, BackendFailed, BackendUnreachable
from router.core.reply import Event, Inventory, Probe, Prompt, Token

if TYPE_CHECKING:
    from huggingface_hub import AsyncInferenceClient

RECYCLE_AFTER = 100
"""Streams per client: at about 8 KB each, a client never holds a megabyte, and opens a connection every 100."""


@dataclass(slots=True, eq=False)
class _Lease:
    """A client, how many streams it has started, how many still run, and whether it takes more."""

    client: AsyncInferenceClient
    started: int = 0
    running: int = 0
    retired: bool = False


class HubBackend:
    """One endpoint. `name` is the backend's name in the policy, `base_url` the endpoint's root (no `/v1`).

    `names` are the adapters it was launched with, `published` the blends that were built for it. `api_key` is the
    Hugging Face token to send; none is sent without it. `recycle_after` is the number of streams after which a
    client is replaced.
    Raises ValueError for an unusable URL, for no names, and for the names that mean the base model.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        names: Sequence[str],
        *,
        published: Published | None = None,
        api_key: str | None = None,
        timeouts: Timeouts | None = None,
        recycle_after: int = RECYCLE_AFTER,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.rstrip("/").endswith("/v1"):
            raise ValueError(f"{base_url!r} is not the root of an endpoint; write https://host, without /v1")
        if not names or not all(names) or {"tgi", "dummy"} & set(names):
            raise ValueError(
                f"backend {name}: {list(names)} must name adapters; 'tgi' and 'dummy' mean the base model"
            )
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._inventory = holding(names, published)
        self._api_key = api_key
        # A None header is dropped after the library has put the machine's own token there.
        self._headers: dict[str, Any] = {} if api_key else {"authorization": None}
        self._timeouts = timeouts or Timeouts()
        self._recycle_after = recycle_after
        self._leases: set[_Lease] = set()
        self._health: Any = None

    async def inventory(self) -> Inventory:
        """Return the adapters, once the endpoint's `GET /health` answers 200. Raises BackendUnreachable."""
        from huggingface_hub import get_async_session

        if self._health is None:
            self._health = get_async_session()
        headers = {"authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        try:
            async with asyncio.timeout(self._timeouts.connect):
                status = (await self._health.get(f"{self._base_url}/health", headers=headers)).status_code
        except (_transport_error(), TimeoutError, OSError) as wrong:
            raise BackendUnreachable(
                f"{self.name}: the endpoint does not answer ({type(wrong).__name__})", backend=self.name
            ) from wrong
        if status != 200:
            raise BackendUnreachable(f"{self.name}: the endpoint is not ready ({status})", backend=self.name)
        return self._inventory

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Yield the answer of exactly `prompt.blend`. See the port for events and errors."""
        served = served_name(self.name, self._inventory, prompt.blend)
        events = ChatEvents(self.name)
        deadline = Deadline(self.name, self._timeouts)
        try:
            async with self._lent() as client:
                async with deadline.waiting():
                    client.headers = {**self._headers, **naming(prompt.request_id)}
                    chunks = await client.chat_completion(
                        messages=template_messages(prompt),
                        model=served,
                        stream=True,
                        extra_body={
                            **tgi_parameters(prompt.parameters),
                            "stream_options": {"include_usage": True},
                        },
                    )
                async with aclosing(cast("AsyncGenerator[Mapping[str, Any], None]", chunks)) as answer:
                    while True:
                        async with deadline.waiting():
                            chunk = await anext(answer, None)
                        found = events.take(chunk) if chunk is not None else events.close()
                        for event in found:
                            yield event
                        if chunk is None:
                            return
                        if found:
                            deadline.moved()
        except BackendFailed:
            raise
        except TimeoutError as wrong:
            raise deadline.missed() from wrong
        except Exception as wrong:
            if events.finished:
                return  # the answer is whole; only the token count is lost
            raise self._failed(wrong, began=deadline.began) from wrong

    async def probe(self, probe: Probe) -> Sequence[Token]:
        """Return the greedy continuation. See the port, and TgiBackend.probe for what cold means."""
        adapter = None if probe.blend is None else served_name(self.name, self._inventory, probe.blend)
        deadline = Deadline(self.name, self._timeouts)
        try:
            async with self._lent() as client, deadline.waiting():
                client.headers = self._headers
                answer = await client.text_generation(
                    probe.text,
                    details=True,
                    adapter_id=adapter,
                    max_new_tokens=probe.tokens,
                    do_sample=False,
                    decoder_input_details=probe.cold,
                    top_n_tokens=TOP,
                )
        except TimeoutError as wrong:
            raise deadline.missed() from wrong
        except Exception as wrong:
            raise self._failed(wrong, began=False) from wrong
        return tgi_tokens(self.name, answer)

    async def aclose(self) -> None:
        """Close every client with its connections, and what still runs on them."""
        leases, self._leases = self._leases, set()
        for lease in leases:
            lease.retired = True
            await lease.client.close()  # type: ignore[no-untyped-call]  # huggingface_hub leaves it bare
        if self._health is not None:
            await self._health.aclose()
            self._health = None

    @asynccontextmanager
    async def _lent(self) -> AsyncGenerator[AsyncInferenceClient, None]:
        """Lend a client for one stream. A retired client is closed when its last stream has ended."""
        lease = next((lease for lease in self._leases if not lease.retired), None)
        if lease is None:
            lease = _Lease(self._new_client())
            self._leases.add(lease)
        lease.started += 1
        lease.running += 1
        lease.retired = lease.started >= self._recycle_after
        try:
            yield lease.client
        except (GeneratorExit, asyncio.CancelledError, TimeoutError):
            lease.retired = True  # the given-up stream is only surely closed with its client
            raise
        finally:
            lease.running -= 1
            if lease.retired and not lease.running and lease in self._leases:
                self._leases.discard(lease)
                await lease.client.close()  # type: ignore[no-untyped-call]  # huggingface_hub leaves it bare

    def _new_client(self) -> AsyncInferenceClient:
        from huggingface_hub import AsyncInferenceClient

        return AsyncInferenceClient(base_url=self._base_url, api_key=self._api_key, headers=self._headers)

    def _failed(self, wrong: Exception, *, began: bool) -> BackendFailed:
        from huggingface_hub.errors import HfHubHTTPError, OverloadedError, TextGenerationError, ValidationError

        if isinstance(wrong, HfHubHTTPError):
            return failure(self.name, wrong.server_message or "", status=wrong.response.status_code)
        if isinstance(wrong, TextGenerationError):
            kinds = {OverloadedError: "overloaded", ValidationError: "validation"}
            return stream_failure(self.name, wrong.args[0] if wrong.args else "", kinds.get(type(wrong)))
        if isinstance(wrong, _transport_error()) and not began:
            return BackendUnreachable(
                f"{self.name}: the endpoint does not answer ({type(wrong).__name__})", backend=self.name
            )
        return BackendBroken(f"{self.name}: the answer broke off ({type(wrong).__name__})", backend=self.name)


def _transport_error() -> type[Exception]:
    """Return the root of the HTTP library's errors, whichever library this huggingface_hub was built on."""
    from huggingface_hub.errors import HfHubHTTPError

    return next(kind for kind in HfHubHTTPError.__mro__[1:] if kind.__name__ == "HTTPError")
