"""A stage alone gives what the core gives: no documents of earlier stages are needed, and the body is the campaign's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from jobflow import run_locally
from monty.json import MontyDecoder, MontyEncoder

from idealflow import (
    AseLabeller,
    CropSearchMaker,
    LabelMaker,
    MDSegmentMaker,
    UncertaintyRelaxMaker,
    UncertaintyScreenMaker,
)
from idealflow.core import SOAP, Crop, UncertaintyModel, crop_search, relax_shell, screen
from idealflow.errors import InputError
from idealflow.forcefields import ForceField, get_force_field
from idealflow.schemas import StageContext
from idealflow.workflow.frames.encode import to_atoms, to_stored
from idealflow.workflow.jobs.keys import child_seed
from support import tiny


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages alone keep their files in the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def u() -> UncertaintyModel:
    crystal = bulk("Cu", cubic=True) * 3
    crystal.rattle(0.1, seed=1)
    return UncertaintyModel.fit([crystal], SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))


@pytest.fixture
def frame() -> Atoms:
    atoms = bulk("Cu", cubic=True) * 4
    del atoms[100]
    atoms.rattle(0.02, seed=3)
    return atoms


@pytest.fixture(scope="module")
def force_field() -> ForceField:
    cells = [bulk("Cu", a=a, cubic=True) for a in (3.5, 3.6, 3.7)]
    for cell in cells:
        cell.calc = EMT()
        cell.get_forces()
    fitted = get_force_field("local", species=["Cu"], cutoff=4.0, hidden=[8])
    fitted.fit(cells, steps=20)
    return fitted


def output(*jobs: Any) -> Any:
    """Output of the last of the jobs."""
    return run_locally(list(jobs), log=False, ensure_success=True)[jobs[-1].uuid][1].output


def test_screen_crop_and_relaxation_equal_those_of_the_core(u: UncertaintyModel, frame: Atoms, tmp_path: Path) -> None:
    threshold = 0.9 * float(u(frame).max())
    screened = output(UncertaintyScreenMaker(max_centres=2).make(frame, u, threshold=threshold))
    centres = screen(u, frame, threshold=threshold, max_centres=2)
    assert [entry.atom for entry in screened.centres] == list(centres)
    assert output(UncertaintyScreenMaker().make(frame, u)).threshold == u.auto_threshold()

    centre = int(centres[0])
    file = u.save(tmp_path / "u.npz")
    search = CropSearchMaker(n_candidates=6, max_atoms=150).make(frame, centre, file, seed=7)
    relax = UncertaintyRelaxMaker(max_steps=8, max_crops=1).make(search.output, u)
    relaxed = output(search, relax)

    rng = np.random.default_rng(child_seed(7, 0, 0, centre))
    crops = crop_search(u, frame, centre, n_candidates=6, rng=rng, max_atoms=150)
    expected = relax_shell(u, crops[0], max_steps=8)
    assert relaxed.atom == centre
    assert np.array_equal(relaxed.structure.positions, expected.atoms.positions)
    assert relaxed.parent_indices == crops[0].parent_indices.tolist()

    one = output(UncertaintyRelaxMaker(max_steps=8).make(Crop.from_dict(crops[0].to_dict()), u))
    assert np.array_equal(one.structure.positions, expected.atoms.positions)


def test_a_label_equals_the_calculators(frame: Atoms) -> None:
    doc = output(LabelMaker(AseLabeller(tiny.EMT, reference=tiny.REFERENCE)).make(frame))
    frame.calc = EMT()
    assert doc.energy == pytest.approx(frame.get_potential_energy(), abs=1e-9)
    assert np.allclose(doc.forces, frame.get_forces(), atol=1e-9)
    assert doc.method == tiny.REFERENCE


def test_search_relaxation_and_label_are_one_flow(u: UncertaintyModel, frame: Atoms) -> None:
    search = CropSearchMaker(n_candidates=5, max_atoms=90).make(frame, 4, u)
    relax = UncertaintyRelaxMaker(max_steps=5).make(search.output, u)
    label = LabelMaker(AseLabeller(tiny.EMT, reference=tiny.REFERENCE)).make(relax.output.structure)
    done = run_locally([search, relax, label], log=False, ensure_success=True)
    cell = to_atoms(done[relax.uuid][1].output.structure)
    labelled = done[label.uuid][1].output
    cell.calc = EMT()
    assert labelled.energy == pytest.approx(cell.get_potential_energy(), abs=1e-9)
    again = LabelMaker(AseLabeller(tiny.EMT)).make(done[relax.uuid][1].output.structure)
    assert output(again).energy == pytest.approx(labelled.energy, abs=1e-12)


def test_a_segment_runs_and_stops_where_the_uncertainty_says_so(
    u: UncertaintyModel, frame: Atoms, force_field: ForceField
) -> None:
    maker = MDSegmentMaker(
        schedule=[{"kind": "hold", "temperature": 300, "steps": 20}], segment_steps=20, check_interval=5
    )
    plain = output(maker.make(frame, force_field))
    assert (plain.last_step, plain.reason) == (20, "schedule_end")
    stopped = output(maker.make(frame, (force_field, u), threshold=1e-3))
    assert (stopped.last_step, stopped.reason) == (0, "triggered")


@dataclass
class Renaming(CropSearchMaker):
    """A user's, which changes the job and nothing else."""

    def make(self, *args: Any, **kwargs: Any) -> Any:
        """The job, by another name."""
        job = super().make(*args, **kwargs)
        job.name = "ours"
        return job


def queued(job: Any) -> Any:
    """A job as a worker reads it."""
    return MontyDecoder().decode(json.dumps(job.as_dict(), cls=MontyEncoder))


def test_keywords_plain_data_and_overridden_makes_are_the_same_call(u: UncertaintyModel, frame: Atoms) -> None:
    maker = {"n_candidates": 3, "max_atoms": 150}
    plain = output(CropSearchMaker(**maker).make(frame, 99, u))
    by_keyword = output(CropSearchMaker(**maker).make(atoms=frame, centre=99, uncertainty=u))
    job = Renaming(**maker).make(frame, 99, u)
    assert job.name == "ours"
    overridden = output(queued(job))
    for found in (by_keyword, overridden):
        assert found.model_copy(update={"seconds": plain.seconds}) == plain
    labelled = output(LabelMaker(AseLabeller(tiny.EMT, reference="EMT")).make(atoms=bulk("Cu")))
    assert labelled.state == "accepted"


def test_a_context_as_plain_data_is_a_campaigns(tmp_path: Path) -> None:
    context = StageContext(campaign="ours", round=3, seed=0, artifacts=str(tmp_path / "a"), work=str(tmp_path / "w"))
    maker = LabelMaker(AseLabeller(tiny.EMT, reference="EMT"))
    given = (to_stored(bulk("Cu")).model_dump(), "bootstrap-0", "bootstrap")
    by_data = output(maker.make(context.model_dump(), *given))
    by_keyword = output(maker.make(context=context, subject=given[0], request=given[1], origin=given[2]))
    assert by_data.campaign == by_keyword.campaign == "ours"
    assert by_data.round == by_keyword.round == 3
    assert by_data.energy == by_keyword.energy


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda known: CropSearchMaker().make(bulk("Cu"), 4, known), "centre must be the index of one of the 1 atoms"),
        (lambda _: CropSearchMaker().make(bulk("Cu"), 0, "nowhere.npz"), "uncertainty file nowhere.npz does not exist"),
        (lambda _: CropSearchMaker().make(bulk("Cu"), 0, 3.0), "uncertainty must be an object with save"),
        (lambda _: MDSegmentMaker().make(bulk("Cu"), "nowhere.pt"), "force field file nowhere.pt does not exist"),
        (
            lambda _: MDSegmentMaker().make(bulk("Cu"), get_force_field("local", species=["Cu"]), 2.0),
            "needs an uncertainty",
        ),
        (lambda _: LabelMaker(AseLabeller(tiny.EMT)).make("nowhere.cif"), "nowhere.cif does not exist"),
    ],
)
def test_what_a_stage_alone_cannot_do_it_says_before_there_is_a_job(
    make: Any, message: str, u: UncertaintyModel
) -> None:
    with pytest.raises(InputError, match=message):
        make(u)


def test_after_a_blow_up_the_free_atom_that_was_pulled_most_is_named(force_field: ForceField) -> None:
    """Two fixed atoms lie upon each other; what blows up is a free one that is as near to another."""
    atoms = bulk("Cu", cubic=True) * 3
    atoms.positions[1] = atoms.positions[0] + [0.0, 0.0, 1.33]
    atoms.positions[50] = atoms.positions[51] + [0.0, 0.0, 1.4]
    maker = MDSegmentMaker(
        schedule=[{"kind": "hold", "temperature": 300, "steps": 10}],
        segment_steps=10,
        fixed_atoms=[0, 1],
        max_force=5.0,
    )
    blown = output(maker.make(atoms, force_field))
    assert blown.reason == "blow_up"
    assert blown.pulled in (50, 51)
    assert f"atom {blown.pulled} " in blown.detail
