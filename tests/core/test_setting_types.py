"""Settings are checked against the annotations of the class that takes them, whoever wrote it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idealflow.core.setting_types import check_settings, is_number, is_whole
from idealflow.errors import InputError


@dataclass(frozen=True)
class Theirs:
    """A class of a third party."""

    width: float = 1.5
    count: int = 2
    limit: Annotated[float, "K"] | None = None
    flag: bool = False
    title: str = "x"
    options: dict[str, int] | None = None
    own: list[int] | None = None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": "two"}, "`width` must be a number, got 'two'"),
        ({"width": True}, "`width` must be a number, got True"),
        ({"width": None}, "`width` must be a number, got None; leave it out for the default, 1.5"),
        ({"width": math.inf}, "`width` must be finite, got inf"),
        ({"limit": math.nan}, "`limit` must be finite, got nan"),
        ({"limit": [1]}, "`limit` must be a number or null, got [1]"),
        ({"count": 2.0}, "`count` must be a whole number, got 2.0"),
        ({"flag": 1}, "`flag` must be true or false, got 1"),
        ({"title": 5}, "`title` must be text, got 5"),
        ({"options": [1]}, "`options` must be a mapping or null, got [1]"),
    ],
)
def test_wrong_types_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as told:
        check_settings(Theirs, settings)
    assert str(told.value) == message


def test_what_fits_or_is_the_class_s_own_affair_is_taken() -> None:
    check_settings(
        Theirs,
        {"width": 2, "count": np.int64(3), "limit": None, "flag": True, "options": {}, "own": "anything", "other": 1},
    )
    check_settings(Theirs, {"width": np.float32(0.5), "limit": 1e3, "flag": np.bool_(0)})


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2))
def test_numbers_are_finite_and_no_truth_values(value: Any) -> None:
    plain = type(value) in (int, float)
    assert is_number(value) == (plain and (type(value) is int or math.isfinite(value)))
    assert not is_number(10**400)
    assert is_whole(value) == (is_number(value) and value % 1 == 0)
