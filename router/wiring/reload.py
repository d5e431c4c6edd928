"""Policy files -> State, at start and again on every change. Everything fallible happens before the swap."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from router.admission import Admission
from router.core.errors import AgogeError
from router.core.facts import Fact, PolicyReloaded
from router.core.modes import Lemmatizer, Modes
from router.core.policy import Policies
from router.core.reachable import reachable
from router.fleet import Fleet
from router.lemmas import RussianLemmatizer
from router.policy_file import load_policies
from router.ports import Backend, Looked, Replicated, Scorer
from router.service import Router, State
from router.wiring.addresses import Address, addresses
from router.wiring.backends import open_backend
from router.wiring.built import watched
from router.wiring.proving import blends_of
from router.wiring.settings import Settings

DRAIN_SECONDS = 300.0  # how long the streams of a retired engine may go on


class Opener(Protocol):
    """Address -> backend. Raises AgogeError with what is missing."""

    async def __call__(self, address: Address, policies: Policies, settings: Settings) -> Backend: ...


async def load_rules(settings: Settings, scorer: Scorer, lemmatizer: Lemmatizer) -> State:
    """Read and check the policy, compile its modes and closure; a state that can decide but not answer.

    Raises PolicyInvalid with everything that is wrong.
    """

    def compiled() -> State:  # in a thread: a dictionary is read and blends are listed while requests are served
        policies = load_policies(settings.policy, scorer.labels)
        modes = {key: Modes.of(policy, lemmatizer) for key, policy in policies.profiles.items()}
        closure = {key: reachable(policy) for key, policy in policies.profiles.items()}
        return State(policies, modes, closure, Fleet({}, lambda fact: None))

    return await asyncio.to_thread(compiled)


class Loader:
    """Builds whole states, and reuses every backend whose address (and adapters) did not change."""

    def __init__(
        self, settings: Settings, scorer: Scorer, record: Callable[[Fact], None], opener: Opener = open_backend
    ) -> None:
        self._settings = settings
        self._scorer = scorer
        self._record = record
        self._opener = opener
        self._lemmatizer = RussianLemmatizer()  # its dictionary is read once, not at every reload
        self._open: dict[Address, Backend] = {}
        self._admission = Admission(record)  # of every fleet: answers under way keep their places
        self.stamp: object = None

    async def load(self) -> State:
        """Read the policy and open what it needs.

        Raises PolicyInvalid or SettingsInvalid, and then leaves nothing open that was not open before.
        """
        self.stamp = await asyncio.to_thread(
            stamp, watched(self._settings)
        )  # before reading: later changes differ
        rules = await load_rules(self._settings, self._scorer, self._lemmatizer)
        wanted = await asyncio.to_thread(addresses, rules.policies, self._settings)
        opened: dict[Address, Backend] = {}
        try:
            for address in wanted.values():
                if address not in self._open:
                    opened[address] = await self._opener(address, rules.policies, self._settings)
            reused: Mapping[Address, Backend] = self._open | opened
            backends = {name: reused[address] for name, address in wanted.items()}
            fleet = Fleet(backends, self._record, self._admission)
            for name, backend in fleet.backends.items():
                if isinstance(backend, Looked):
                    backend.look_after(blends_of(name, rules.policies), self._record)
            await fleet.look()
        except BaseException:
            await asyncio.gather(*(backend.aclose() for backend in opened.values()), return_exceptions=True)
            raise
        self._open = {address: reused[address] for address in wanted.values()}
        self._admission.apply(rules.policies, {name: engines(each) for name, each in fleet.backends.items()})
        return replace(rules, fleet=fleet)


def engines(backend: Backend) -> int:
    """Return how many engines stand behind a backend."""
    return len(backend.states()) if isinstance(backend, Replicated) else 1


class PolicyWatch:
    """Looks at the policy and the manifest of built blends; swaps the router's state when a changed file is good.

    `trouble` says why the file on disk is not in force, None while it is.
    """

    def __init__(self, router: Router, loader: Loader, settings: Settings) -> None:
        self.trouble: str | None = None
        self._router = router
        self._loader = loader
        self._settings = settings
        self._reloading = asyncio.Lock()
        self._retiring: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Look for ever, every `reload_seconds`."""
        while True:
            await asyncio.sleep(self._settings.reload_seconds)
            if await asyncio.to_thread(stamp, watched(self._settings)) != self._loader.stamp:
                await self.reload()

    async def reload(self) -> None:
        """Read the file now. A bad one keeps the old policy and says so in health, metrics and log."""
        async with self._reloading:
            old = self._router.state
            try:
                state = await self._loader.load()
            except (AgogeError, OSError) as error:
                self._keep(str(error))
            except Exception as error:  # our own mistake, not the file's: the old policy serves on all the same
                self._keep(
                    f"reading the policy failed unexpectedly, please report it: {type(error).__name__}: {error}"
                )
            else:
                self._router.state = state  # the one swap: requests under way keep the state they began with
                self.trouble = None
                self._router.record(PolicyReloaded(state.policies.revision, None))
                self._retiring = asyncio.create_task(self._retire(old.fleet, state.fleet, self._retiring))

    async def aclose(self) -> None:
        """Close what is still being retired, its streams included."""
        self._stopping.set()
        if self._retiring is not None:
            await self._retiring

    async def _retire(self, old: Fleet, new: Fleet, before: asyncio.Task[None] | None) -> None:
        """Close what the new fleet does not use, once the streams that began on it have ended.

        Fleets retire in order: an older one may still be streaming from an engine that `old` took over from it.
        """
        if before is not None:
            await before
        waiting = {asyncio.create_task(event.wait()) for event in (old.idle, self._stopping)}
        await asyncio.wait(waiting, timeout=DRAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await old.aclose(keep=new.backends)

    def _keep(self, trouble: str) -> None:
        self.trouble = trouble
        self._router.record(PolicyReloaded(self._router.state.policies.revision, trouble))


def stamp(files: Iterable[Path]) -> object:
    """Return what changes whenever a file is touched, replaced or rewritten, be it within one clock tick."""

    def one(file: Path) -> object:
        try:
            stat = file.stat()
            return stat.st_mtime_ns, stat.st_ino, hashlib.sha256(file.read_bytes()).digest()
        except OSError as error:
            return type(error), error.errno

    return tuple(map(one, files))
