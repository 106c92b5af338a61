"""Campaigns that begin with so few environments that they know next to nothing, and are told so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from idealflow.report import summarise, summary_text
from support import tiny


def volumes(path: Path, n: int) -> str:
    """A dataset of so many volumes of a perfect crystal, one environment each."""
    frames = []
    for volume in np.linspace(0.94, 1.06, n):
        atoms = bulk("Cu", "fcc", 3.62 * volume ** (1 / 3))
        atoms.calc = EMT()
        values = atoms.get_potential_energy(), atoms.get_forces().copy(), atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, energy=values[0], forces=values[1], stress=values[2])
        frames.append(atoms)
    write(path, frames)
    return str(path)


def run(folder: Path, n: int) -> tuple[Any, Any]:
    folder.mkdir()
    bootstrap = {"dataset": volumes(folder / "volumes.extxyz", n), "seeds": None, "dataset_check": 0}
    states: list[Any] = []
    _, campaign = tiny.run(
        folder,
        bootstrap=bootstrap,
        segment={"schedule": tiny.schedule(10, 0)[:1]},
        evaluation={"n_frames": 0},
        max_rounds=2,
        on_round=states.append,
    )
    return states, campaign


def test_volumes_of_a_crystal_do_not_know_a_vacancy(tmp_path: Path) -> None:
    states, campaign = run(tmp_path / "eleven", 11)
    assert states[0].too_few == {}
    assert 2.0 <= states[0].threshold < 20.0
    labels = campaign.substructures(state="accepted")
    assert len(labels) >= 1
    assert min(doc.uncertainty for doc in labels) > 10 * states[0].threshold


def test_too_few_environments_are_said(tmp_path: Path) -> None:
    states, campaign = run(tmp_path / "four", 4)
    assert (states[0].too_few, states[0].threshold) == ({"Cu": 4}, 2.0)
    assert campaign.bootstrap().too_few == {"Cu": 4}
    labels = campaign.substructures(state="accepted")
    assert len(labels) >= 1
    assert np.isposinf([doc.uncertainty for doc in labels]).all()
    assert states[-1].too_few == {}  # the first labels bring enough
    summary = summarise(campaign, whole=False)
    assert "too_few_environments" not in summary
    said = summary_text(summary | {"too_few_environments": {"Cu": 4}})
    assert "warning: too few distinct environments are known to judge others by (Cu from 4; 7 are needed)" in said


@pytest.mark.parametrize("n", [4, 11])
def test_the_report_says_so_while_it_holds(tmp_path: Path, n: int) -> None:
    folder = tmp_path / "campaign"
    folder.mkdir()
    bootstrap = {"dataset": volumes(folder / "volumes.extxyz", n), "seeds": None, "dataset_check": 0}
    _, campaign = tiny.run(folder, bootstrap=bootstrap, max_rounds=1)
    assert ("too few distinct environments" in summary_text(summarise(campaign))) == (n < 7)
