"""An alloy loses its order by Monte Carlo, at quick size, by the one command: the disorder is learned on the way."""

from __future__ import annotations

from typing import Any

import pytest

from support.systems import measured_by

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return measured_by("cuau_order", tmp_path_factory.mktemp("cuau-order"))


def test_order_is_lost_on_the_way(measured: dict[str, Any]) -> None:
    orders = [row["order"] for row in measured["course"]]
    assert orders[0] == pytest.approx(-1 / 3, abs=1e-3)
    assert orders[-1] > -0.15
    assert measured["labels"]


def test_the_last_model_knows_the_disorder_that_the_first_did_not(measured: dict[str, Any]) -> None:
    last_part = {row["model"]: row for row in measured["errors"] if row["part"] == 3}
    assert last_part["last"]["force_mae"] < 0.4 * last_part["first"]["force_mae"]
    assert last_part["last"]["energy_mae"] < 2.0  # meV/atom; of the first 18 and 0.8 in two runs: luck


def test_the_last_models_order_is_the_references(measured: dict[str, Any]) -> None:
    """Where order is lost; hotter, without learning, a dozen labels do not hold a run of so many trials for every seed."""
    rows = {(row["by"], row["temperature"]): row for row in measured["ladder"]}
    for temperature in (300.0, 400.0):
        assert abs(rows["last", temperature]["order"] - rows["reference", temperature]["order"]) < 0.08
        assert abs(rows["last", temperature]["off"]) < 3.0
    assert rows["reference", 400.0]["order"] > -0.25
