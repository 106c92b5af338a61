"""A melting point by coexistence, piece by piece: the half-molten cell, the share of crystal, drifts and their nought."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from workbench import melting_tables
from workbench.coexistence import coexistence, crystal_share, drift, half_molten, held, melting_point
from workbench.keeping import keep

REPEAT = (3, 3, 6)


def crystal():
    return bulk("Cu", "bcc", a=2.87, cubic=True).repeat(REPEAT)


def test_half_of_the_cell_melts_while_the_other_stays():
    start = crystal()
    atoms = half_molten(EMT(), start, 600.0, hot=20000.0, steps=200, seed=0)
    lower = start.get_scaled_positions()[:, 2] < 0.5
    moved = np.linalg.norm(atoms.positions - start.positions, axis=1)
    assert np.all(moved[lower] == 0.0)
    assert np.median(moved[~lower]) > 1.0
    assert 0.4 <= crystal_share(atoms, REPEAT) <= 0.7
    assert not atoms.constraints
    assert np.all(np.abs(atoms.get_momenta()[lower]).sum(axis=1) > 0.0)


def test_a_hot_crystal_is_crystal_and_a_random_one_is_not():
    atoms = crystal()
    assert crystal_share(atoms, REPEAT) == 1.0
    atoms.rattle(0.2, seed=1)
    atoms.positions += [0.4, 1.1, 0.7]  # wherever it stands
    atoms.set_cell(atoms.cell.array * 1.05, scale_atoms=True)
    assert crystal_share(atoms, REPEAT) == 1.0
    atoms.set_scaled_positions(np.random.default_rng(0).random((len(atoms), 3)))
    assert crystal_share(atoms, REPEAT) == 0.0


def test_a_held_cell_yields_to_its_stress_and_keeps_right_angles():
    start = bulk("Cu", "fcc", a=3.66, cubic=True) * 3
    start.set_cell(start.cell.array * [[1.0], [1.0], [1.04]], scale_atoms=True)
    rows = held(EMT(), start, (3, 3, 3), 300.0, 200, seed=0)
    assert rows[0]["crystal"] == 0.0  # it is no bcc, so the run ends with the first block
    assert len(rows) == 1
    assert rows[0]["length"] < start.cell.lengths()[2] - 0.05
    assert rows[0]["time"] == pytest.approx(0.15)


def test_a_drift_is_the_slope_after_the_start():
    rows = [{"time": 0.15 * n, "energy": -1800.0 + 2.5 * 0.15 * n + (100.0 if n < 6 else 0.0)} for n in range(1, 25)]
    assert drift(rows) == pytest.approx(2.5)
    assert drift(rows[:8]) is None  # a phase was gone before there was anything to fit


def test_the_melting_point_is_where_drifts_are_nought():
    temperatures = np.array([300.0, 400.0, 500.0, 600.0])
    rng = np.random.default_rng(0)
    found = [melting_point(temperatures, 0.02 * (temperatures - 447.0) + rng.normal(0.0, 0.3, 4)) for _ in range(400)]
    centre = np.array([each.temperature for each in found])
    assert np.mean(centre) == pytest.approx(447.0, abs=2.0)
    claimed = np.sqrt(np.mean([each.uncertainty**2 for each in found]))
    assert claimed == pytest.approx(np.std(centre), rel=0.15)
    assert found[0].slope == pytest.approx(0.02, rel=0.3)


def test_runs_that_say_nothing_are_refused():
    with pytest.raises(ValueError, match="four runs"):
        melting_point([300.0, 400.0, 500.0], [-1.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="too short"):
        melting_point([300.0, 400.0, 500.0, 600.0], [1.0, 0.5, -0.5, -1.0])


def test_finished_runs_are_not_made_again(tmp_path: Path):
    for temperature, slope in ((300, -1.0), (400, 0.0), (500, 1.0), (600, 2.0)):
        rows = [
            {"time": 0.15 * n, "energy": slope * 0.15 * n, "temperature": temperature, "length": 20.0, "crystal": 0.5}
            for n in range(1, 21)
        ]
        keep(tmp_path / f"none-32-{temperature}.json", rows=rows)
    settings = {"element": "Cu", "crystal": "bcc", "a": 2.87, "cubic": True}
    found = coexistence(None, "none", settings, [[2, 2, 4]], [300, 400, 500, 600], 1000, tmp_path)
    assert [row["drift"] for row in found["coexistence"]] == pytest.approx([-1.0, 0.0, 1.0, 2.0], abs=2e-3)
    assert found["melting_points"][0]["temperature"] == pytest.approx(400.0, abs=1.0)
    assert (found["melting_points"][0]["frozen"], found["melting_points"][0]["molten"]) == (None, None)


def test_where_too_few_drifts_can_be_fitted_the_ends_of_the_runs_tell(tmp_path: Path):
    """A cell that freezes or melts before its energy could settle gives no drift, but it says on which side it lies."""
    for temperature, blocks, crystal in ((300, 3, 1.0), (400, 20, 1.0), (500, 20, 0.5), (600, 3, 0.0)):
        rows = [
            {"time": 0.15 * n, "energy": -1.0, "temperature": temperature, "length": 20.0, "crystal": crystal}
            for n in range(1, blocks + 1)
        ]
        keep(tmp_path / f"none-32-{temperature}.json", rows=rows)
    settings = {"element": "Cu", "crystal": "bcc", "a": 2.87, "cubic": True}
    (point,) = coexistence(None, "none", settings, [[2, 2, 4]], [300, 400, 500, 600], 1000, tmp_path)["melting_points"]
    assert (point["n_runs"], point["temperature"], point["frozen"], point["molten"]) == (2, None, 400, 600)


def test_what_the_page_shows_of_it(monkeypatch: pytest.MonkeyPatch):
    """Both ways side by side by size, with a dash where one is not measured, and the drifts with their lines."""
    runs = [
        {"by": by, "n_atoms": n, "target": t, "drift": 0.02 * (t - 450.0)}
        for by, n in (("reference", 256), ("last", 256), ("last", 1372))
        for t in (300, 400, 500, 600)
    ]
    points = [
        {"by": by, "n_atoms": n, "n_runs": 4, "temperature": 450.2, "uncertainty": 12.4, "slope": 0.02}
        | {"frozen": None if n == 256 else 400, "molten": 600}
        for by, n in (("reference", 256), ("last", 256), ("last", 1372))
    ]
    kept = {
        f"{part}_{by}": [row for row in rows if row["by"] == by]
        for part, rows in (("coexistence", runs), ("melting_points", points))
        for by in ("reference", "last")
    }
    monkeypatch.setattr(melting_tables, "kept", lambda _: kept)
    lines = melting_tables.melting_points("quick").splitlines()[2:]
    both = "450 ± 12 (4 runs); 600 melted"
    assert lines == [f"| 256 | {both} | {both} |", "| 1 372 | 450 ± 12 (4 runs); 400 froze; 600 melted | – |"]
    figure = melting_tables.coexistence_figure("quick")
    assert [len(axis.get_lines()) for axis in figure.axes] == [5, 3]  # points and a line each, and nought
    assert figure.axes[0].get_lines()[1].get_ydata() == pytest.approx([0.02 * (300 - 450.2), 0.02 * (600 - 450.2)])
