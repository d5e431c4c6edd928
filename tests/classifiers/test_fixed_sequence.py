"""The guarantee, against distributions whose true risk is known."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from classifiers.fixed_sequence import count, last_passed, start_of
from classifiers.gates import Judged, Ladder, fit_ladder
from tests.classifiers.synthetic import EASY, HARD, LABELS, LANGS, draw, true_risk

ERROR, CONFIDENCE, DRAWS = 0.2, 0.9, 600


@pytest.fixture(scope="module")
def laid() -> Judged:
    return draw(np.random.default_rng(99), 4000)


@pytest.fixture(scope="module")
def ladder(laid: Judged) -> Ladder:
    return fit_ladder(laid, LABELS)


def _choose(laid: Judged, ladder: Ladder, rows: Judged) -> int | None:
    start = start_of(laid, ladder, Counter(rows.langs.tolist()), ERROR, CONFIDENCE)
    return last_passed(count(rows, ladder), start, ERROR, CONFIDENCE)


def _naive(ladder: Ladder, rows: Judged) -> int:
    kept = np.all([wrong <= ERROR * routed for routed, wrong in count(rows, ladder).values()], axis=0)
    return int(np.flatnonzero(kept)[-1])


def test_counting_by_hand() -> None:
    ladder = Ladder(np.array([0.9, 0.8, 0.7]), np.array([[0.9], [0.8], [0.7]]))
    rows = Judged(
        best=np.zeros(5, dtype=np.intp),
        score=np.array([0.95, 0.85, 0.85, 0.75, 0.6]),
        open=np.ones(5, dtype=np.bool_),
        right=np.array([True, False, True, False, False]),
        langs=np.array(["en", "en", "ru", "en", "ru"]),
    )
    counts = count(rows, ladder)
    assert [array.tolist() for array in counts["en"]] == [[1, 2, 3], [0, 1, 2]]
    assert [array.tolist() for array in counts["ru"]] == [[0, 1, 1], [0, 0, 0]]


def test_the_bound_holds_in_the_promised_share_in_both_languages_and_is_not_idle(
    laid: Judged, ladder: Ladder
) -> None:
    random = np.random.default_rng(7)
    risks = {lang: true_risk(ladder, short) for lang, short in LANGS.items()}
    broken: Counter[str] = Counter()
    routed_something = 0
    for _ in range(DRAWS):
        last = _choose(laid, ladder, draw(random, 1500))
        routed_something += last is not None
        broken.update(lang for lang, risk in risks.items() if last is not None and risk[last] > ERROR)
    # three standard deviations of a share of 600 draws above the promise
    most = DRAWS * (1 - CONFIDENCE) + 3 * (DRAWS * CONFIDENCE * (1 - CONFIDENCE)) ** 0.5
    assert max(broken[lang] for lang in LANGS) <= most
    assert routed_something >= 0.9 * DRAWS


def test_the_level_is_used_up_where_one_language_is_exactly_at_the_bound(ladder: Ladder, laid: Judged) -> None:
    # Every step is a true hypothesis: the risk is `ERROR` at every gate. Then the test may err as often as
    # promised and should err about as often, or it would be needlessly strict.
    random = np.random.default_rng(8)
    passed = 0
    for _ in range(DRAWS):
        rows = draw(random, 1500)
        flat = Judged(rows.best, rows.score, rows.open, random.random(1500) < 1 - ERROR, rows.langs)
        one = flat.take(np.flatnonzero(flat.langs == "en"))
        passed += _choose(laid, ladder, one) is not None
    assert 0.05 * DRAWS <= passed <= 0.13 * DRAWS


def test_the_naive_choice_breaks_the_bound_about_every_other_time(ladder: Ladder) -> None:
    random = np.random.default_rng(7)
    risk = true_risk(ladder, HARD)
    broken = sum(risk[_naive(ladder, draw(random, 1500))] > ERROR for _ in range(DRAWS))
    assert broken > 0.3 * DRAWS


def test_the_harder_language_decides_for_both(laid: Judged, ladder: Ladder) -> None:
    random = np.random.default_rng(3)
    rows = draw(random, 6000)
    both = _choose(laid, ladder, rows)
    easy = rows.take(np.flatnonzero(rows.langs == "en"))
    alone = _choose(laid.take(np.flatnonzero(laid.langs == "en")), ladder, easy)
    assert both is not None
    assert alone is not None
    assert true_risk(ladder, EASY)[both] < true_risk(ladder, EASY)[alone]
    hopeless = draw(random, 6000, {"en": EASY, "ru": 0.4})
    assert _choose(laid, ladder, hopeless) is None


def test_too_few_rows_pass_nothing_even_without_a_mistake(laid: Judged, ladder: Ladder) -> None:
    # 0.8 ** 10 = 0.107 > 0.1 > 0.8 ** 11: ten right rows cannot show it, eleven can
    for rows, enough in ((10, False), (11, True)):
        few = Judged(
            np.zeros(rows, dtype=np.intp),
            np.ones(rows),
            np.ones(rows, bool),
            np.ones(rows, bool),
            np.full(rows, "en"),
        )
        assert (_choose(laid, ladder, few) is not None) == enough


def test_testing_stops_at_the_first_failure_though_a_later_step_would_pass() -> None:
    counts = {"en": (np.array([100, 200, 300, 4000]), np.array([0, 1, 30, 40]))}
    assert last_passed(counts, 0, 0.05, 0.95) == 1
    assert last_passed(counts, 3, 0.05, 0.95) == 3
    assert last_passed(counts, 2, 0.05, 0.95) is None
