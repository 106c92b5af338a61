"""Crops of an ionic crystal are neutral without a word in the config: oxidation states are guessed when a campaign begins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.data import chemical_symbols
from jobflow import run_locally

from idealflow import AseLabeller, CropSearchMaker, IdealMaker, LabelMaker
from idealflow.core import SOAP, UncertaintyModel
from idealflow.structures.charges import ionic_charges
from idealflow.workflow.campaign.checks import guessed_charges
from idealflow.workflow.campaign.opening import context_of, initial_state
from idealflow.workflow.campaign.said import say_what_is_done
from idealflow.workflow.jobs.progress import noted

SALT = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * 4
CHARGE = {"Na": 1.0, "Cl": -1.0}


@pytest.fixture
def maker(tmp_path) -> IdealMaker:
    label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    return IdealMaker(campaign="salt", label=label, artifacts=str(tmp_path / "artifacts"))


def test_the_guess_is_kept_with_the_campaign_and_reaches_its_stages(maker) -> None:
    state = initial_state(maker, SALT)
    assert state.charges == CHARGE
    assert context_of(maker, state).charges == CHARGE
    with noted() as notes:
        say_what_is_done(maker, SALT)
    assert "guessed from the composition (Cl -1, Na +1)" in notes[-1]


@pytest.mark.parametrize(
    ("crop", "frame"),
    [
        (CropSearchMaker(oxidation_states={}), SALT),
        (CropSearchMaker(oxidation_states={"Na": 1, "Cl": -1}), SALT),
        (CropSearchMaker(max_atoms=1000), SALT),  # labelled whole
        (CropSearchMaker(), bulk("GaAs", "zincblende", a=5.65, cubic=True) * 4),
        (CropSearchMaker(), fcc111("Cu", (8, 8, 8), vacuum=8.0, periodic=True)),
    ],
)
def test_nothing_is_guessed_where_it_is_not_asked_or_makes_no_sense(maker, crop, frame) -> None:
    assert guessed_charges(replace(maker, crop=crop), frame) is None


def test_ionic_bonds_are_told_from_covalent_ones() -> None:
    found = {name: ionic_charges(bulk(name, "zincblende", a=5.0)) for name in ("ZnO", "AlN", "SiC", "InP")}
    assert {name for name, charges in found.items() if charges} == {"ZnO", "AlN"}


def test_cells_are_neutral_by_the_guess_and_need_not_be_without_it(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    frame = SALT.copy()
    frame.rattle(0.3, seed=1)
    del frame[[200, 202, 300]]  # vacancies: a cell around them is neutral by chance only
    u = UncertaintyModel.fit([SALT], SOAP(species=["Na", "Cl"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    net = {}
    for name, charges in (("guessed", None), ("any", {})):
        job = CropSearchMaker(n_candidates=12, max_atoms=260, oxidation_states=charges).make(frame, 199, u, n_keep=12)
        found = run_locally(job, log=False)[job.uuid][1].output
        net[name] = [sum(CHARGE[chemical_symbols[number]] for number in one.numbers) for one in found.chosen]
    assert np.all(np.array(net["guessed"]) == 0.0)
    assert np.any(np.array(net["any"]) != 0.0)
