"""Rank correlation, bins and the warning of a calibration, against scipy and by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from idealflow.analysis import CALIBRATION_EDGES, calibrate, threshold_for_error
from idealflow.errors import InputError

PAIRS = st.lists(
    st.tuples(st.one_of(st.floats(0, 50), st.sampled_from([1.0, 2.0, math.inf])), st.integers(0, 5).map(float)),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(PAIRS)
def test_rank_correlation_is_scipys_and_bins_are_counted_by_hand(pairs) -> None:
    ratio, error = [x for x, _ in pairs], [y for _, y in pairs]
    found = calibrate(ratio, error)
    if len(set(ratio)) > 1 and len(set(error)) > 1:
        # ranks, since scipy takes no infinite values
        expected = spearmanr([sorted(set(ratio)).index(x) for x in ratio], error).statistic
        assert found.rank_correlation == pytest.approx(expected, abs=1e-12)
    else:
        assert found.rank_correlation is None
    for i, (low, high) in enumerate(itertools.pairwise(CALIBRATION_EDGES)):
        inside = [y for x, y in pairs if low <= x < high or x == high == math.inf]
        assert found.counts[i] == len(inside)
        assert found.mean_errors[i] == pytest.approx(np.mean(inside)) if inside else np.isnan(found.mean_errors[i])
    assert found.counts.sum() == found.n == len(pairs)


@settings(max_examples=30, deadline=None)
@given(PAIRS.filter(len), st.randoms(use_true_random=False))
def test_the_order_of_the_centres_does_not_matter(pairs, random) -> None:
    mixed = list(pairs)
    random.shuffle(mixed)
    one, two = calibrate(*zip(*pairs, strict=True)), calibrate(*zip(*mixed, strict=True))
    assert (one.rank_correlation is None) == (two.rank_correlation is None)
    assert one.rank_correlation is None or one.rank_correlation == pytest.approx(two.rank_correlation, abs=1e-12)
    assert one.counts.tolist() == two.counts.tolist()


def test_a_warning_where_they_do_not_go_together() -> None:
    rng = np.random.default_rng(0)
    ratio = 1 + rng.exponential(2.0, 200)
    assert calibrate(ratio, 0.1 * ratio).warning is None
    assert calibrate(ratio, 0.1 * ratio).rank_correlation == 1.0
    assert calibrate(ratio, ratio * rng.lognormal(0, 0.5, 200)).warning is None
    assert "rank correlation is -1.00, expected at least 0.20" in str(calibrate(ratio, 1 / ratio).warning)
    assert "do not go together" in str(calibrate(ratio, rng.random(200)).warning)
    assert "is undefined (all are equal)" in str(calibrate(ratio, np.ones(200)).warning)
    assert calibrate(ratio[:9], 1 / ratio[:9]).warning is None  # too few to say
    noise = rng.random(200)
    close = next(
        found
        for weight in np.linspace(0.0, 0.2, 2000)
        if 0.195 < ((found := calibrate(ratio, noise + weight * ratio)).rank_correlation or 0.0) < 0.2
    )
    assert f"is {close.rank_correlation:.4f}, expected at least 0.2000" in str(close.warning)  # not 0.20 and 0.20


def test_independent_ranks_are_warned_of_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(1)
    for n in (10, 40):
        warned = [calibrate(rng.random(n), rng.random(n)).warning is not None for _ in range(400)]
        assert np.mean(warned) > 0.9


@pytest.mark.parametrize(
    ("ratio", "error", "message"),
    [([1.0], [1.0, 2.0], "one length"), ([-1.0], [1.0], "at least 0, got -1"), ([math.nan], [1.0], "got nan"),
     ([1.0], [math.inf], "finite, got inf")],
)  # fmt: skip
def test_bad_input_names_the_rule(ratio, error, message) -> None:
    with pytest.raises(InputError, match=message):
        calibrate(ratio, error)


@given(st.lists(st.tuples(st.floats(0.0, 50.0), st.floats(0.0, 1.0)), min_size=20, max_size=60))
def test_a_threshold_by_error_is_where_the_best_rising_fit_exceeds_it(pairs) -> None:
    from sklearn.isotonic import isotonic_regression

    u, errors = np.array(pairs).T
    order = np.argsort(u, kind="stable")
    fit = isotonic_regression(errors[order])
    found = threshold_for_error(u, errors, limit=0.3)
    if np.abs(fit - 0.3).min() > 1e-9:  # else rounding decides
        above = np.flatnonzero(fit > 0.3)
        assert found == u[order][above[0] if len(above) else -1]


def test_a_threshold_by_error_needs_enough_pairs_and_a_limit() -> None:
    with pytest.raises(InputError, match=r"force_error: 0.15.* at least 20 .* there are 2; run with `threshold: auto`"):
        threshold_for_error([1.0, 2.0, np.inf], [0.1, 0.2, 0.3], 0.15)
    with pytest.raises(InputError, match=r"must be positive, in eV/Å, got 0"):
        threshold_for_error(range(30), range(30), 0.0)
