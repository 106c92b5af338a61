"""The fused kernel of the built-in force field against the same model as array operations, and its list of neighbours."""

from __future__ import annotations

from itertools import pairwise

import numba
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from idealflow.errors import InputError
from idealflow.forcefields.local import fused
from idealflow.forcefields.local.atomic import LocalAtomicEnergies
from idealflow.forcefields.local.calculator import LocalCalculator
from idealflow.forcefields.local.candidates import SKIN, CandidateList
from idealflow.forcefields.local.model import LocalModel

CUTOFF = 4.0
SPECIES = ["Al", "Ni", "Cu"]
NUMBERS = [13, 28, 29]


def random_model(
    seed: int, n_species: int = 1, n_radial: int = 8, n_channels: int = 8, hidden: tuple[int, ...] = (32, 32)
) -> LocalModel:
    torch.manual_seed(seed)
    model = LocalModel(n_species, n_radial, n_channels, list(hidden)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
        model.mean += torch.randn_like(model.mean)
        model.spread *= 1.0 + torch.rand_like(model.spread)
        model.reference += torch.randn_like(model.reference)
        model.scale *= 0.7
    return model


def kinds(atoms: Atoms) -> NDArray[np.int64]:
    return np.array([NUMBERS.index(number) for number in atoms.numbers], dtype=np.int64)


def one_kind(atoms: Atoms) -> NDArray[np.int64]:
    return np.zeros(len(atoms), dtype=np.int64)


def alloy(seed: int, n_species: int) -> Atoms:
    atoms = bulk("Cu", a=3.7, cubic=True).repeat(2)
    rng = np.random.default_rng(seed)
    atoms.numbers = rng.choice(NUMBERS[:n_species], len(atoms))
    atoms.rattle(0.2, rng=rng)
    atoms.set_cell(atoms.cell.array + rng.normal(scale=0.2, size=(3, 3)), scale_atoms=True)
    return atoms


@settings(max_examples=12)
@given(
    seed=st.integers(0, 1000),
    n_species=st.integers(1, 3),
    n_radial=st.integers(1, 10),
    n_channels=st.integers(1, 10),
    hidden=st.sampled_from([(), (3,), (32, 32), (8, 5, 16)]),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_it_computes_what_the_model_does(
    seed: int, n_species: int, n_radial: int, n_channels: int, hidden: tuple[int, ...], pbc: tuple[bool, ...]
) -> None:
    model = random_model(seed, n_species, n_radial, n_channels, hidden or (4,))
    atoms = alloy(seed, n_species)
    atoms.pbc = pbc
    atoms.positions[1] = atoms.positions[0] + [1.0, 0.0, 0.0]  # a repulsion
    energies, pull = LocalAtomicEnergies(model, NUMBERS[:n_species], CUTOFF, kinds).linearised(atoms)
    in_positions, _ = pull(np.ones(len(atoms)))
    atoms.calc = LocalCalculator(model, NUMBERS[:n_species], CUTOFF, kinds)
    size = max(1.0, np.abs(in_positions).max())
    assert np.allclose(atoms.get_potential_energies(), energies, rtol=1e-10, atol=1e-10)
    assert np.abs(atoms.get_forces() + in_positions).max() < 1e-10 * size


def test_stress_is_the_slope_of_the_energy_in_the_cell() -> None:
    atoms = alloy(3, 2)
    atoms.calc = LocalCalculator(random_model(3, 2), NUMBERS[:2], CUTOFF, kinds)
    stress, h, found = atoms.get_stress(voigt=False), 1e-5, np.zeros((3, 3))
    for a in range(3):
        for b in range(3):
            energies = []
            for sign in (1, -1):
                strained, strain = atoms.copy(), np.eye(3)
                strain[a, b] += 0.5 * sign * h
                strain[b, a] += 0.5 * sign * h
                strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
                strained.calc = atoms.calc
                energies.append(strained.get_potential_energy())
            found[a, b] = (energies[0] - energies[1]) / (2 * h * atoms.cell.volume)
    assert np.allclose(stress, found, atol=1e-6 * np.abs(found).max())


def test_the_list_of_neighbours_changes_no_bit() -> None:
    model, atoms, rng = random_model(0), alloy(0, 1), np.random.default_rng(0)
    kept = LocalCalculator(model, NUMBERS[:1], CUTOFF, kinds)
    lists = []
    for step in range(12):
        atoms.positions += rng.normal(scale=0.03, size=(len(atoms), 3))
        if step == 8:
            atoms.set_cell(atoms.cell.array * 1.01, scale_atoms=True)
        if step == 10:
            atoms.positions[5] += 7 * atoms.cell.array[1]
        found = []
        for calculator in (kept, LocalCalculator(model, NUMBERS[:1], CUTOFF, kinds)):
            calculator.calculate(atoms)
            found.append(calculator.results)
        assert found[0]["energy"] == found[1]["energy"]
        assert np.array_equal(found[0]["forces"], found[1]["forces"])
        assert np.array_equal(found[0]["stress"], found[1]["stress"])
        frame = atoms.positions, atoms.cell.array, atoms.pbc, kinds(atoms)
        lists.append(kept.candidates.of(*frame))
    assert any(one is other for one, other in pairwise(lists))  # some lists served several frames


def test_a_list_holds_every_neighbour_until_an_atom_has_moved_by_half_the_skin() -> None:
    row = Atoms("Cu2", [[0, 0, 0], [0, 0, CUTOFF + 0.3]])
    candidates = CandidateList(CUTOFF)

    def near(positions: NDArray[np.float64]) -> int:
        return len(candidates.of(positions, row.cell.array, row.pbc, one_kind(row)).j)

    assert near(row.positions) == 0  # made without a skin
    row.positions[1, 2] -= 0.1
    assert near(row.positions) == 2  # made again, with one
    row.positions[1, 2] += 0.5 * SKIN - 0.05
    assert near(row.positions) == 2
    row.positions[1, 2] += 1.5 * SKIN
    assert near(row.positions) == 0


def test_a_swap_of_species_makes_the_list_anew() -> None:
    atoms, model = alloy(1, 2), random_model(1, 2)
    calculator = LocalCalculator(model, NUMBERS[:2], CUTOFF, kinds)
    atoms.calc = calculator
    for _ in range(2):
        atoms.rattle(0.001, seed=1)
        atoms.get_forces()
    other = int(np.flatnonzero(atoms.numbers != atoms.numbers[0])[0])
    atoms.numbers[[0, other]] = atoms.numbers[[other, 0]]
    swapped = atoms.get_forces()
    atoms.calc = LocalCalculator(model, NUMBERS[:2], CUTOFF, kinds)
    assert np.array_equal(swapped, atoms.get_forces())


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("numba was started with one thread")
    atoms, found = alloy(2, 2).repeat((4, 4, 3)), []  # enough for a second thread
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        atoms.calc = LocalCalculator(random_model(2, 2), NUMBERS[:2], CUTOFF, kinds)
        found.append(atoms.get_forces())
    torch.set_num_threads(before)
    assert np.array_equal(*found)


def test_it_computes_again_when_anything_that_counts_changes_by_a_bit_and_only_then() -> None:
    atoms = alloy(3, 2)
    calculator = atoms.calc = LocalCalculator(random_model(3, 2), NUMBERS[:2], CUTOFF, kinds)
    atoms.get_potential_energy()
    assert calculator.check_state(atoms) == []
    atoms.set_initial_magnetic_moments(np.ones(len(atoms)))
    assert calculator.check_state(atoms) == []
    atoms.positions[5, 1] = np.nextafter(atoms.positions[5, 1], np.inf)
    assert calculator.check_state(atoms) == ["positions"]
    before = calculator.results
    atoms.get_potential_energy()
    assert calculator.results is not before
    for changed, name in (
        (atoms.cell.array * 1.01, "cell"),
        ((True, False, True), "pbc"),
        (atoms.numbers[::-1], "numbers"),
    ):
        other = atoms.copy()
        setattr(other, name, changed)
        assert calculator.check_state(other) == [name]
    assert "positions" in calculator.check_state(atoms[:3])


def test_images_of_one_atom_are_sorted_however_many() -> None:
    atoms = Atoms("AlNi", [[0.1, 0.2, 0.3], [0.9, 1.1, 0.8]], cell=[1.7, 1.8, 1.9], pbc=True)  # hundreds of pairs each
    found = CandidateList(9.0).of(atoms.positions, atoms.cell.array, atoms.pbc, np.array([1, 0]))
    for start, end in pairwise(found.offsets.tolist()):
        assert end - start > 1000
        rows = [
            (1 - j, j, *shift)
            for j, shift in zip(found.j[start:end].tolist(), found.shift[start:end].tolist(), strict=True)
        ]
        assert rows == sorted(rows)
        assert len(set(rows)) == len(rows)


@pytest.mark.parametrize("n", [0, 1, 9])
def test_frames_of_no_one_and_few_atoms(n: int) -> None:
    atoms = Atoms(f"Al{n}" if n else [], np.arange(3 * n).reshape(n, 3) * 10.0)
    model = random_model(0)
    atoms.calc = LocalCalculator(model, NUMBERS[:1], CUTOFF, kinds)
    alone = LocalAtomicEnergies(model, NUMBERS[:1], CUTOFF, kinds)(Atoms("Al"))[0]
    assert atoms.get_potential_energy() == pytest.approx(n * alone)
    assert not atoms.get_forces().any()


def test_positions_that_are_not_finite_are_refused() -> None:
    candidates = CandidateList(CUTOFF)
    with pytest.raises(InputError, match="positions must be finite"):
        candidates.of(np.full((2, 3), np.nan), np.zeros((3, 3)), np.zeros(3, dtype=bool), np.zeros(2, dtype=np.int64))


def test_a_position_that_is_lost_is_not_taken_for_one_that_has_not_moved() -> None:
    candidates, atoms = CandidateList(CUTOFF), bulk("Cu", a=3.7, cubic=True)
    frame = atoms.cell.array, atoms.pbc, np.zeros(4, dtype=np.int64)
    for step in range(2):
        candidates.of(atoms.positions + 0.01 * step, *frame)
    lost = atoms.positions.copy()
    lost[1, 2] = np.nan
    with pytest.raises(InputError, match="positions must be finite"):
        candidates.of(lost, *frame)


@pytest.mark.parametrize("n", [1, 512, 5000])
def test_virials_are_summed_one_after_the_other_to_the_bit(n: int) -> None:
    virials, none = np.random.default_rng(0).normal(size=(n, 3, 3)), np.zeros(n + 1, dtype=np.int64)
    sums, forces = np.zeros((-(-n // fused.SUMMED_AT_ONCE), 3, 3)), np.zeros((n, 3))
    for start in range(0, n, 512):
        end = min(start + 512, n)
        near, slopes = np.zeros(0, dtype=np.int32), np.zeros((0, 3))
        fused.gather(start, end, none, none[start:end], near, slopes, virials[start:end], forces, sums)
    parts = [virials[first : first + fused.SUMMED_AT_ONCE].sum(axis=0) for first in range(0, n, fused.SUMMED_AT_ONCE)]
    assert np.array_equal(sums, np.array(parts))


def test_an_atom_that_left_its_cell_far_behind_is_where_it_is() -> None:
    near = bulk("Cu", a=3.7, cubic=True).repeat(2)
    near.rattle(0.1, seed=0)
    cells, forces = (2, 40_000), []
    for away, kept in zip(cells, (np.int16, np.int32), strict=True):
        frame = near.copy()
        frame.positions[5] += away * frame.cell[0]
        calculator = LocalCalculator(random_model(0), [29], CUTOFF, one_kind)
        frame.calc = calculator
        forces.append(frame.get_forces())
        found = calculator.candidates.of(frame.positions, frame.cell.array, frame.pbc, one_kind(frame))
        assert found.shift.dtype == kept
        assert abs(found.shift).max() >= away - 1
    assert np.allclose(*forces, rtol=0.0, atol=1e-6)  # positions of 300 000 Å have an absolute precision of 6e-11 Å


@pytest.mark.parametrize("at_once", [32, 3])
def test_pieces_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    frame = alloy(1, 3)
    frame.calc = LocalCalculator(random_model(1, 3), NUMBERS, CUTOFF, kinds)
    expected = frame.get_potential_energy(), frame.get_forces(), frame.get_stress()
    monkeypatch.setattr("idealflow.forcefields.local.calculator.CENTRES_AT_ONCE", at_once)
    frame.calc = LocalCalculator(random_model(1, 3), NUMBERS, CUTOFF, kinds)
    for found, whole in zip(
        (frame.get_potential_energy(), frame.get_forces(), frame.get_stress()), expected, strict=True
    ):
        assert np.array_equal(found, whole)
