"""Crystals told from one another, from liquids and from surfaces, at rest and displaced."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT

from idealflow.analysis import PHASES, local_phases, phase_fractions, relax_crystal
from idealflow.errors import InputError
from idealflow.structures import crystal

CRYSTALS = {
    "fcc": crystal("Li", "fcc", a=4.2, repeat=4),
    "bcc": crystal("Li", "bcc", a=3.5, repeat=4),
    "hcp": crystal("Li", "hcp", a=3.0, c=4.9, repeat=4),
}


@pytest.mark.parametrize("name", CRYSTALS)
def test_a_crystal_is_told_from_one_atom_on_and_when_displaced_strained_turned(name: str) -> None:
    whole = CRYSTALS[name]
    assert set(local_phases(whole)) == {name}
    assert set(local_phases(crystal("Li", name, a=3.5 if name == "bcc" else 4.2 if name == "fcc" else 3.0))) == {name}
    moved = whole.copy()
    moved.set_cell(
        moved.cell.array @ (np.eye(3) + 0.03 * np.random.default_rng(0).normal(size=(3, 3))), scale_atoms=True
    )
    moved.rotate(33.0, (1, 2, 3), rotate_cell=True)
    moved.rattle(0.05, seed=0)
    assert set(local_phases(moved)) == {name}
    assert phase_fractions(moved) == {each: float(each == name) for each in PHASES}


def test_nine_layers_are_two_thirds_hcp() -> None:
    shares = phase_fractions(crystal("Li", "9R", repeat=[2, 2, 1]))
    assert shares == pytest.approx({"other": 0.0, "fcc": 1 / 3, "hcp": 2 / 3, "bcc": 0.0})


def test_random_places_and_lone_atoms_are_no_crystal() -> None:
    disorder = CRYSTALS["fcc"].copy()
    disorder.set_scaled_positions(np.random.default_rng(0).random((len(disorder), 3)))
    assert set(local_phases(disorder)) == {"other"}
    assert local_phases(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]])).tolist() == ["other", "other"]


def test_both_faces_of_a_slab_are_no_crystal() -> None:
    slab = fcc111("Cu", (3, 3, 7), vacuum=8.0)
    found = local_phases(slab)
    outer = np.isin(slab.get_tags(), (1, 7))
    assert set(found[outer]) == {"other"}
    assert set(found[~outer]) == {"fcc"}


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    atoms = CRYSTALS["bcc"].copy()
    atoms.rattle(0.25, seed=1)
    whole = local_phases(atoms)
    assert 1 < len(set(whole)) <= len(PHASES)
    monkeypatch.setattr("idealflow.analysis.phases.CHUNK", 7)
    np.testing.assert_array_equal(local_phases(atoms), whole)


def test_what_has_no_phase_is_refused() -> None:
    with pytest.raises(InputError, match="one or more atoms with finite positions"):
        local_phases(Atoms())


def test_a_crystal_at_rest_is_the_minimum_over_its_lengths() -> None:
    """The oracle: energies of scaled cells."""
    found = relax_crystal(bulk("Cu", a=3.5, cubic=True), EMT(), max_force=1e-5)
    lengths = np.linspace(3.585, 3.595, 11)
    energies = []
    for length in lengths:
        scaled = bulk("Cu", a=length, cubic=True)
        scaled.calc = EMT()
        energies.append(scaled.get_potential_energy() / 4)
    fit = np.polyfit(lengths - 3.59, energies, 2)
    assert found.lengths == pytest.approx((3.59 - 0.5 * fit[1] / fit[0],) * 3, abs=1e-4)
    assert found.angles == pytest.approx((90.0, 90.0, 90.0))
    assert found.volume == pytest.approx(found.lengths[0] ** 3 / 4)
    assert found.energy == pytest.approx(min(energies), abs=1e-6)
    assert found.atoms.calc is None


def test_a_crystal_must_be_periodic_and_come_to_rest() -> None:
    open_above = bulk("Cu", a=3.5)
    open_above.pbc = (True, True, False)
    with pytest.raises(InputError, match="periodic in three directions"):
        relax_crystal(open_above, EMT())
    with pytest.raises(InputError, match="not at rest after 1 steps"):
        relax_crystal(bulk("Cu", a=3.5), EMT(), max_steps=1)
