"""Masses, fixed directions, moments, charge and spin in the dynamics: kept exactly, stored, and never in the way."""

import json
import struct

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.constraints import FixAtoms, FixCartesian

from idealflow.core.dynamics import MDState, Schedule, Stage, Trajectory, TrajectoryWriter, get_sampler, md_segment
from idealflow.core.fixed_atoms import fixed_directions
from idealflow.core.structure import totals_of
from idealflow.errors import ArtifactError, InputError
from support.md_worker import ExactEMT, copper

SIXTY = Schedule([Stage("hold", 500.0, steps=60)])


def held():
    """Copper whose lowest layer never moves, one atom only along z, two not along x."""
    atoms = copper()
    atoms.set_constraint(
        [
            FixAtoms(mask=atoms.positions[:, 2] < 1.0),
            FixCartesian(20, [True, True, False]),
            FixCartesian([25, 30], [True, False, False]),
        ]
    )
    return atoms


@pytest.mark.parametrize(
    "sampler",
    [
        get_sampler("langevin", friction=0.02),
        get_sampler("nve"),
        get_sampler("bussi", tau=20.0),
        get_sampler("monte-carlo"),
    ],
    ids=lambda sampler: sampler.name,
)
def test_fixed_directions_move_by_exactly_nothing_and_resume_to_the_bit(sampler, tmp_path):
    atoms = held()
    fixed = fixed_directions(atoms)
    start = MDState.initial(atoms, 500.0, seed=4)
    assert np.array_equal(start.fixed_directions, fixed)
    assert not start.momenta[fixed].any()
    whole = md_segment(ExactEMT(), start, schedule=SIXTY, sampler=sampler)
    assert np.array_equal(whole.state.positions[fixed], atoms.positions[fixed])
    if sampler.name != "monte-carlo":
        assert (whole.state.positions[~fixed] != atoms.positions[~fixed]).all()
    half = md_segment(ExactEMT(), start, schedule=SIXTY, sampler=sampler, stop_step=23)
    stored = MDState.load(half.state.save(tmp_path / "half.npz"))
    assert md_segment(ExactEMT(), stored, schedule=SIXTY, sampler=sampler).state.digest() == whole.state.digest()


def test_fixed_directions_do_not_count_in_the_temperature():
    start = MDState.initial(held(), 500.0, seed=1)
    result = md_segment(ExactEMT(), start, schedule=SIXTY)
    kinetic = (result.state.momenta**2 / result.state.masses[:, None]).sum() / 2.0
    free = 3 * 32 - 3 * 8 - 2 - 2
    assert result.log[-1]["temperature"] == pytest.approx(2.0 * kinetic / (free * units.kB), rel=1e-12)


def test_npt_refuses_atoms_that_are_partly_fixed():
    atoms = copper()
    atoms.set_constraint(FixCartesian([3], [False, False, True]))
    with pytest.raises(InputError, match="'npt' sampler moves all atoms with the cell, got 1 fixed atoms"):
        get_sampler("npt").check(MDState.initial(atoms, 300.0, seed=1))


def test_swaps_leave_partly_fixed_atoms_where_they_are():
    atoms = bulk("Cu", cubic=True) * 2
    atoms.numbers[:2] = 79
    atoms.set_constraint(FixCartesian([0, 1], [False, False, True]))
    with pytest.raises(InputError, match="swaps need two elements among the free atoms"):
        get_sampler("monte-carlo", swap_probability=0.5).check(MDState.initial(atoms, 300.0, seed=1))


def test_masses_make_the_motion():
    """Twice the mass, the same forces: velocities at the start fall by √2, and the NVE path differs."""
    light, heavy = copper(), copper()
    heavy.set_masses(2.0 * light.get_masses())
    first, second = (MDState.initial(atoms, 400.0, seed=2) for atoms in (light, heavy))
    velocity = [state.momenta / state.masses[:, None] for state in (first, second)]
    np.testing.assert_allclose(velocity[1], velocity[0] / np.sqrt(2.0), rtol=1e-12)
    moved = [md_segment(ExactEMT(), state, schedule=SIXTY, sampler="nve", stop_step=1) for state in (first, second)]
    way = [result.state.positions - light.positions for result in moved]
    step = 1.0 * units.fs
    force = ExactEMT().get_forces(light)
    for mass, path, speed in zip((first.masses, second.masses), way, velocity, strict=True):
        # velocity Verlet without the drift that the resting centre of mass takes off
        expected = step * speed + 0.5 * step**2 * force / mass[:, None]
        np.testing.assert_allclose(path, expected - (mass @ expected) / mass.sum(), atol=1e-12)


def test_states_and_trajectories_carry_everything(tmp_path):
    atoms = held()
    atoms.set_masses(np.linspace(60.0, 70.0, 32))
    atoms.set_initial_magnetic_moments(np.linspace(-2.0, 2.0, 32))
    atoms.info.update(charge=1.0, spin=3)
    state = MDState.load(MDState.initial(atoms, 300.0, seed=1).save(tmp_path / "state.npz"))
    path = tmp_path / "run.idf"
    result = md_segment(ExactEMT(), state, schedule=SIXTY, stop_step=20, trajectory=path)
    for frame in (state.atoms(), result.state.atoms(), *Trajectory(path)):
        assert np.array_equal(frame.get_masses(), atoms.get_masses())
        assert np.array_equal(frame.get_initial_magnetic_moments(), atoms.get_initial_magnetic_moments())
        assert np.array_equal(fixed_directions(frame), fixed_directions(atoms))
        assert totals_of(frame) == {"charge": 1.0, "spin": 3.0}
    path.write_bytes(path.read_bytes()[:700])  # within the moments
    with pytest.raises(ArtifactError, match="cut within its header"):
        Trajectory(path)


def test_plain_walkers_are_stored_as_they_were_before_there_was_anything_to_carry(tmp_path):
    """States and headers of 0.1.0, written out here: old files are read, and new ones have the same bytes."""
    atoms = copper()
    atoms.set_constraint(FixAtoms([0, 5]))
    state = MDState.initial(atoms, 300.0, seed=1)
    arrays, meta = state.to_arrays()
    assert list(arrays) == ["numbers", "positions", "momenta", "masses", "cell", "pbc", "fixed"]
    assert set(meta) == {"step", "rng_state"}
    with TrajectoryWriter(tmp_path / "plain.idf", state, key="k") as writer:
        writer.append(atoms, 3, 3.0, -1.0, 300.0)
    text = json.dumps({"key": "k", "n_atoms": 32, "pbc": [True] * 3}, sort_keys=True).encode()
    text += b" " * (-(16 + len(text)) % 8)
    fixed = np.zeros(32, dtype=np.uint8)
    fixed[[0, 5]] = 1
    constants = state.numbers.tobytes() + state.masses.tobytes() + fixed.tobytes()
    content = (tmp_path / "plain.idf").read_bytes()
    assert content[:6] == b"IDFTRJ"
    assert content[8:].startswith(struct.pack("<Q", len(text)) + text + constants)
    assert fixed_directions(Trajectory(tmp_path / "plain.idf")[0])[[0, 5]].all()
