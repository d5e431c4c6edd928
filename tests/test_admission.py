"""Places at engines: who gets one, who waits, in which order, who is refused, and that none is ever lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from router.admission import Admission, Place
from router.core.errors import Overloaded
from router.core.facts import Occupied
from router.policy_file import load_policies
from tests.stubs import POLICY, Facts, until, write_policy

TENANTS = "tenants: { a: {}, b: {}, c: {}, small: { limits: { at_once: 1 } } }\nroles: { guest: {} }\n"
ONE = "capacity: { first: { at_once: 1, queue: 4, wait: 60 }, second: { at_once: 1, queue: 4, wait: 60 } }\n"


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def made(folder: Path, limits: str, facts: Facts | None = None, clock: Clock | None = None) -> Admission:
    admission = Admission((facts or Facts()).record, clock or Clock())
    limit(admission, folder, limits)
    return admission


def limit(admission: Admission, folder: Path, limits: str, engines: int = 1) -> None:
    policies = load_policies(write_policy(folder, POLICY + TENANTS + limits))
    admission.apply(policies, {"first": engines, "second": engines})


async def waiting(admission: Admission, tenant: str, *names: str, role: str | None = None) -> asyncio.Task[Place]:
    """Let one more wait; it has been put into its queues when this returns."""
    task = asyncio.create_task(admission.enter(names or ("first",), (tenant, role)))
    await asyncio.sleep(0)
    return task


async def now(task: asyncio.Task[Place]) -> Place:
    """Return the place that must have been given by now."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert task.done()
    return task.result()


async def still_waits(task: asyncio.Task[Place]) -> bool:
    for _ in range(3):
        await asyncio.sleep(0)
    return not task.done()


async def test_a_place_is_taken_at_the_first_backend_that_has_one(tmp_path: Path) -> None:
    admission = made(tmp_path, ONE)
    both = ("first", "second")
    places = [await admission.enter(both), await admission.enter(both)]
    assert [place.backend for place in places] == ["first", "second"]
    third = await waiting(admission, "default", *both)
    places[1].leave()
    assert (await now(third)).backend == "second"


async def test_nobody_is_sent_to_a_backend_that_was_not_named(tmp_path: Path) -> None:
    admission = made(tmp_path, ONE)
    await admission.enter(("first",))
    task = await waiting(admission, "default", "first")
    await admission.enter(("second",))
    assert await still_waits(task)
    task.cancel()


async def test_tenants_take_turns_and_one_tenants_requests_keep_their_order(tmp_path: Path) -> None:
    admission = made(tmp_path, ONE.replace("queue: 4", "queue: 9"))
    place = await admission.enter(("first",))
    tasks = {name: await waiting(admission, name[0]) for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1")}
    order = []
    while tasks:
        place.leave()
        for _ in range(3):
            await asyncio.sleep(0)
        done = [name for name, task in tasks.items() if task.done()]
        assert len(done) == 1, "one place came free, so one got in"
        order += done
        place = tasks.pop(done[0]).result()
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


async def test_a_full_queue_refuses_and_says_when_to_come_back(tmp_path: Path) -> None:
    clock = Clock()
    admission = made(tmp_path, ONE, clock=clock)
    place = await admission.enter(("first",))
    clock.now = 8.0
    place.leave()  # answers take eight seconds, it seems
    await admission.enter(("first",))
    tasks = [await waiting(admission, "default") for _ in range(4)]
    with pytest.raises(Overloaded) as refused:
        await admission.enter(("first",))
    assert (refused.value.status, refused.value.code) == (429, "overloaded")
    assert refused.value.retry_after == 40.0  # four wait, one place: five answers of eight seconds
    with pytest.raises(Overloaded):
        admission.refuse_early(("first",), ("default", None))
    admission.refuse_early(("first", "second"), ("default", None))  # the second has a place
    for task in tasks:
        task.cancel()


async def test_retry_after_is_at_least_a_second_and_at_most_a_minute(tmp_path: Path) -> None:
    for seconds, expected in ((0.001, 1.0), (1000.0, 60.0)):
        clock = Clock()
        admission = made(tmp_path, ONE.replace("queue: 4", "queue: 0"), clock=clock)
        place = await admission.enter(("first",))
        clock.now = seconds
        place.leave()
        await admission.enter(("first",))
        with pytest.raises(Overloaded) as refused:
            await admission.enter(("first",))
        assert refused.value.retry_after == expected


async def test_one_tenants_flood_makes_room_for_another(tmp_path: Path) -> None:
    admission = made(tmp_path, ONE)
    place = await admission.enter(("first",), ("a", None))
    flood = [await waiting(admission, "a") for _ in range(4)]
    other = await waiting(admission, "b")
    with pytest.raises(Overloaded):  # the newest of the longest line
        await flood[3]
    assert await still_waits(other)
    assert await still_waits(flood[2])
    with pytest.raises(Overloaded):  # and the flood itself finds no more room
        await admission.enter(("first",), ("a", None))
    place.leave()
    (await now(flood[0])).leave()
    (await now(other)).leave()
    for task in flood[1:3]:
        (await now(task)).leave()


async def test_a_tenants_own_limit_holds_it_back_and_nobody_else(tmp_path: Path) -> None:
    admission = made(tmp_path, "capacity: { first: { at_once: 9, queue: 4 } }\n")
    place = await admission.enter(("first",), ("small", None))
    held = await waiting(admission, "small")
    (await admission.enter(("first",), ("a", None))).leave()
    assert await still_waits(held)
    place.leave()
    (await now(held)).leave()


async def test_a_tenants_limit_counts_over_all_backends_and_roles(tmp_path: Path) -> None:
    admission = made(tmp_path, ONE)
    place = await admission.enter(("first",), ("small", None))
    held = await waiting(admission, "small", "second", role="guest")
    assert await still_waits(held)
    place.leave()  # at the first; the second was free all the time
    assert (await now(held)).backend == "second"


async def test_who_leaves_while_waiting_leaves_the_queue(tmp_path: Path) -> None:
    facts = Facts()
    admission = made(tmp_path, ONE, facts)
    place = await admission.enter(("first",))
    await admission.enter(("second",))
    gone, next_one = await waiting(admission, "a", "first", "second"), await waiting(admission, "a")
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert facts.of(Occupied)[-1] == Occupied("second", 1, 0)
    place.leave()
    assert (await now(next_one)).backend == "first"


async def test_who_leaves_in_the_moment_a_place_comes_free_gives_it_back(tmp_path: Path) -> None:
    admission = made(tmp_path, ONE)
    place = await admission.enter(("first",))
    gone, next_one = await waiting(admission, "a"), await waiting(admission, "a")
    place.leave()  # to the first who waits
    gone.cancel()  # who has not run since
    await asyncio.gather(gone, return_exceptions=True)
    (await now(next_one)).leave()
    (await admission.enter(("first",))).leave()


async def test_waiting_ends_when_its_time_is_over(tmp_path: Path) -> None:
    admission = made(tmp_path, ONE.replace("wait: 60", "wait: 0.01"))
    place = await admission.enter(("first",))
    with pytest.raises(Overloaded, match=r"within 0\.01 s"):
        await admission.enter(("first",))
    place.leave()
    (await admission.enter(("first",))).leave()


async def test_new_limits_apply_at_once_and_lose_no_place_that_is_taken(tmp_path: Path) -> None:
    facts = Facts()
    admission = made(tmp_path, ONE, facts)
    places = [await admission.enter(("first",))]
    task = await waiting(admission, "default")
    limit(admission, tmp_path, ONE.replace("at_once: 1", "at_once: 2"))
    places.append(await now(task))
    limit(admission, tmp_path, ONE)  # fewer than are taken: nobody is thrown out, nobody else gets in
    task = await waiting(admission, "default")
    places.pop().leave()
    assert await still_waits(task)
    places.pop().leave()
    (await now(task)).leave()
    assert facts.of(Occupied)[-1] == Occupied("first", 0, 0)


async def test_the_usual_capacity_grows_with_the_engines_behind_a_backend(tmp_path: Path) -> None:
    admission = made(tmp_path, "")
    limit(admission, tmp_path, "", engines=2)
    places = [await admission.enter(("first",)) for _ in range(256)]
    task = await waiting(admission, "default")
    assert await still_waits(task)
    places[0].leave()
    await now(task)


async def test_a_place_is_given_back_once(tmp_path: Path) -> None:
    facts = Facts()
    admission = made(tmp_path, ONE, facts)
    place, other = await admission.enter(("first",)), await waiting(admission, "default")
    place.leave()
    place.leave()
    await now(other)
    assert facts.of(Occupied)[-1] == Occupied("first", 1, 0)


async def test_many_who_come_go_and_give_up_leave_everything_free(tmp_path: Path) -> None:
    facts = Facts()
    capacity = "capacity: { first: { at_once: 3, queue: 8 }, second: { at_once: 2, queue: 8 } }\n"
    admission = made(tmp_path, capacity, facts)
    most = {"first": 0, "second": 0}

    async def one(number: int) -> None:
        names = (("first",), ("second",), ("first", "second"))[number % 3]
        place = await admission.enter(names, (("a", "b", "c", "small")[number % 4], None))
        try:
            await asyncio.sleep(0.001 * (number % 5))
        finally:
            place.leave()

    tasks = []
    for number in range(300):
        tasks.append(asyncio.create_task(one(number)))
        await asyncio.sleep(0)
        if number % 7 == 0:
            tasks[number // 2].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for fact in facts.of(Occupied):
        most[fact.backend] = max(most[fact.backend], fact.in_use)
    assert most == {"first": 3, "second": 2}
    assert {type(result) for result in results} <= {type(None), Overloaded, asyncio.CancelledError}
    assert results.count(None) > 20
    last = {fact.backend: (fact.in_use, fact.waiting) for fact in facts.of(Occupied)}
    assert last == {"first": (0, 0), "second": (0, 0)}
    await until(lambda: len(asyncio.all_tasks()) == 1)
