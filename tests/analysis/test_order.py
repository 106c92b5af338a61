"""Order of alloys: what is known of ordered and random ones."""

from __future__ import annotations

import numpy as np
import pytest

from idealflow.analysis import short_range_order
from idealflow.errors import InputError
from idealflow.structures import crystal


def test_order_and_disorder() -> None:
    ordered = crystal("Ni3Al", "L1_2", a=3.6, repeat=8)
    for pair in (("Ni", "Al"), ("Al", "Ni")):  # all neighbours of Al are Ni, a third of those of Ni are Al
        assert short_range_order(ordered, *pair, r_max=2.9) == pytest.approx(-1 / 3)
    assert short_range_order(ordered, "Al", "Al", r_max=2.9) == 1.0
    random = ordered.copy()
    random.numbers = np.random.default_rng(0).permutation(random.numbers)
    assert abs(short_range_order(random, "Ni", "Al", r_max=2.9)) < 0.03


def test_what_cannot_be_asked_is_refused() -> None:
    alloy = crystal("CuAu", "L1_0", a=3.9)
    with pytest.raises(InputError, match="there is no 'Ag' among the atoms"):
        short_range_order(alloy, "Cu", "Ag", r_max=3.0)
    with pytest.raises(InputError, match=r"no atom of Cu has a neighbour within r_max = 1\.0"):
        short_range_order(alloy, "Cu", "Au", r_max=1.0)
