"""Policy files -> State, at start and again on every change. Everything fallible happens before the swap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from router.core.check import check
from router.core.errors import AgogeError, PolicyInvalid
from router.core.facts import Fact, PolicyReloaded
from router.core.modes import Modes
from router.core.policy import Policies
from router.core.reachable import reachable
from router.fleet import Fleet
from router.lemmas import RussianLemmatizer
from router.policy_file import load_policies
from router.ports import Backend, Scorer
from router.service import Router, State
from router.wiring.backends import Address, addresses, open_backend
from router.wiring.settings import Settings

DRAIN_SECONDS = 300.0  # how long the streams of a retired engine may go on


class Opener(Protocol):
    """Address -> backend. Raises AgogeError with what is missing."""

    async def __call__(self, address: Address, policies: Policies, settings: Settings) -> Backend: ...


async def load_rules(settings: Settings, scorer: Scorer) -> State:
    """Read and check the policy, compile its modes and closure; a state that can decide but not answer.

    Raises PolicyInvalid with everything that is wrong.
    """
    policies = await asyncio.to_thread(load_policies, settings.policy)
    problems = [p for policy in policies.profiles.values() for p in check(policy, scorer.labels)]
    if problems:
        raise PolicyInvalid(list(dict.fromkeys(problems)))
    lemmatizer = RussianLemmatizer()
    modes = {key: Modes.of(policy, lemmatizer) for key, policy in policies.profiles.items()}
    closure = {key: reachable(policy) for key, policy in policies.profiles.items()}
    return State(policies, modes, closure, Fleet({}, lambda fact: None))


class Loader:
    """Builds whole states, and reuses every backend whose address (and adapters) did not change."""

    def __init__(
        self, settings: Settings, scorer: Scorer, record: Callable[[Fact], None], opener: Opener = open_backend
    ) -> None:
        self._settings = settings
        self._scorer = scorer
        self._record = record
        self._opener = opener
        self._open: dict[Address, Backend] = {}

    async def load(self) -> State:
        """Read the policy and open what it needs.

        Raises PolicyInvalid or SettingsInvalid, and then leaves nothing open that was not open before.
        """
        rules = await load_rules(self._settings, self._scorer)
        wanted = addresses(rules.policies, self._settings)
        opened: dict[Address, Backend] = {}
        try:
            for address in wanted.values():
                if address not in self._open:
                    opened[address] = await self._opener(address, rules.policies, self._settings)
        except BaseException:
            await asyncio.gather(*(backend.aclose() for backend in opened.values()), return_exceptions=True)
            raise
        self._open = {a: opened[a] if a in opened else self._open[a] for a in wanted.values()}
        fleet = Fleet({name: self._open[address] for name, address in wanted.items()}, self._record)
        await fleet.look()
        return replace(rules, fleet=fleet)


class PolicyWatch:
    """Looks at the policy file, and swaps the router's state when a changed file turns out to be good."""

    def __init__(self, router: Router, loader: Loader, settings: Settings) -> None:
        self.trouble: str | None = None
        self._router = router
        self._loader = loader
        self._settings = settings
        self._seen = self._stamp()
        self._retiring: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Look for ever, every `reload_seconds`."""
        while True:
            await asyncio.sleep(self._settings.reload_seconds)
            stamp = self._stamp()
            if stamp != self._seen:
                self._seen = stamp
                await self.reload()

    async def reload(self) -> None:
        """Read the file now. A bad one keeps the old policy and says so in health, metrics and log."""
        old = self._router.state
        try:
            state = await self._loader.load()
        except (AgogeError, OSError) as error:
            self.trouble = str(error)
            self._router.record(PolicyReloaded(old.policies.revision, self.trouble))
            return
        self._router.state = state  # the one swap: requests under way keep the state they began with
        self.trouble = None
        self._router.record(PolicyReloaded(state.policies.revision, None))
        task = asyncio.create_task(_retire(old.fleet, state.fleet))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _stamp(self) -> object:
        try:
            stat = self._settings.policy.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


async def _retire(old: Fleet, new: Fleet) -> None:
    """Close what the new fleet does not use, once the streams that began on it have ended."""
    with suppress(TimeoutError):
        await asyncio.wait_for(old.idle.wait(), DRAIN_SECONDS)
    await old.aclose(keep=new.backends)
