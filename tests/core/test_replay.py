"""Replay: the paper's probabilities, drawn without repeats."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idealflow.core.replay import draw_replay, replay_probabilities
from idealflow.errors import InputError

ERRORS = np.array([[0.01, 0.10, 0.2], [0.02, 0.05, math.nan], [0.0, 0.0, 0.0], [0.3, 0.1, 1.0]])


def test_probabilities_follow_the_formula():
    weights = np.array([0.01 + 0.10 + 0.02, 0.02 + 0.05, 0.0, 0.3 + 0.1 + 0.1])
    np.testing.assert_allclose(replay_probabilities(ERRORS), weights / weights.sum(), rtol=1e-14)
    assert replay_probabilities(np.zeros((5, 3))).tolist() == [0.2] * 5


def test_draws_are_successive_draws_by_probability():
    p = replay_probabilities(ERRORS[[0, 1, 3]])
    rng = np.random.default_rng(0)
    n = 20_000
    counts = dict.fromkeys(itertools.permutations(range(3), 2), 0)
    for _ in range(n):
        counts[tuple(draw_replay(ERRORS[[0, 1, 3]], 2, rng).tolist())] += 1
    for (first, second), count in counts.items():
        exact = p[first] * p[second] / (1.0 - p[first])
        assert abs(count / n - exact) < 4.0 * math.sqrt(exact * (1.0 - exact) / n)


@settings(max_examples=50, deadline=None)
@given(n=st.integers(0, 20), size=st.integers(0, 25), seed=st.integers(0, 99))
def test_no_repeats_and_zero_errors_last(n, size, seed):
    errors = np.random.default_rng(seed).random((n, 3)) * (np.arange(n) % 2)[:, None]
    drawn = draw_replay(errors, size, np.random.default_rng(seed))
    assert len(drawn) == len(set(drawn.tolist())) == min(size, n)
    n_with_error = min(size, n // 2)
    assert (drawn[:n_with_error] % 2 == 1).all()
    assert drawn.tolist() == draw_replay(errors, size, np.random.default_rng(seed)).tolist()


def test_structures_without_error_are_drawn_at_random():
    firsts = {int(draw_replay(np.zeros((4, 3)), 1, np.random.default_rng(seed))[0]) for seed in range(40)}
    assert firsts == {0, 1, 2, 3}


@pytest.mark.parametrize(
    "errors", [np.zeros((0, 3)), np.zeros(3), [[math.nan, 0.0, 0.0]], [[0.0, math.inf, 0.0]], [[0.0, -1.0, 0.0]]]
)
def test_impossible_errors_are_refused(errors):
    with pytest.raises(InputError, match="got"):
        replay_probabilities(errors)
