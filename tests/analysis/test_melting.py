"""The jump of a property along temperatures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idealflow.analysis import jump
from idealflow.errors import InputError

LADDER = np.arange(200.0, 901.0, 50.0)


@given(
    place=st.integers(3, len(LADDER) - 3),
    size=st.floats(0.02, 1.0),
    sign=st.sampled_from([-1, 1]),
    slope=st.floats(-1e-4, 1e-4),
    seed=st.integers(0, 100),
)
def test_a_jump_above_the_noise_is_found(place: int, size: float, sign: int, slope: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = 0.5 + slope * LADDER + sign * size * (np.arange(len(LADDER)) >= place)
    shuffled = rng.permutation(len(LADDER))
    found = jump(LADDER[shuffled], (values + rng.normal(scale=1e-4, size=len(LADDER)))[shuffled])
    assert found.temperature == 0.5 * (LADDER[place - 1] + LADDER[place])
    assert found.uncertainty == 25.0
    assert found.size == pytest.approx(sign * size, abs=2e-3)
    assert found.significance > 5.0


def test_no_jump_has_no_significance() -> None:
    noise = np.random.default_rng(0).normal(scale=1e-3, size=len(LADDER))
    assert jump(LADDER, 0.5 - 1e-4 * LADDER + noise).significance < 2.0
    assert jump(LADDER, np.full(len(LADDER), 0.5)).significance == 1.0


@pytest.mark.parametrize(
    ("temperatures", "values", "message"),
    [
        ([1, 2, 3], [1, 2, 3], "six or more temperatures"),
        ([1, 2, 3, 4, 5, 5], range(6), "5 K occurs twice"),
        ([1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, np.nan], "must be finite"),
    ],
)
def test_bad_input_is_named(temperatures, values, message) -> None:  # type: ignore[no-untyped-def]  # of any numbers
    with pytest.raises(InputError, match=message):
        jump(list(temperatures), list(values))
