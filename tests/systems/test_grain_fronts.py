"""Mean positions hide no crystal that vibrates, and make none of a liquid."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk

from idealflow.analysis import local_phases
from workbench.grain_fronts import APART, AVERAGED, averaged
from workbench.grains import layer


def frames_of(crystal: Atoms, spread: float, n: int = 40) -> list[Atoms]:
    """Frames of 20 fs each whose atoms are displaced at random from where they stand, Å."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(n):
        atoms = crystal.copy()
        atoms.positions += rng.normal(scale=spread, size=(len(crystal), 3))
        atoms.info["time"] = 20.0 * (number + 1)
        found.append(atoms)
    return found


def test_a_crystal_that_one_frame_hides_is_seen_in_the_mean() -> None:
    crystal = bulk("Li", "bcc", a=3.5, cubic=True).repeat(6)
    frames = frames_of(crystal, spread=0.45)
    means = averaged(frames)
    assert (local_phases(frames[0]) == "bcc").mean() < 0.2
    assert all((local_phases(atoms) == "bcc").mean() > 0.95 for atoms in means)
    assert len(means) == (len(frames) - AVERAGED) // APART + 1
    assert np.allclose(
        [atoms.info["time_ps"] for atoms in means], 0.02 * (np.arange(len(means)) * APART + (AVERAGED + 1) / 2)
    )


def test_a_layer_has_each_of_its_atoms_once() -> None:
    crystal = bulk("Li", "bcc", a=3.5, cubic=True).repeat(6)
    crystal.rattle(0.6, seed=1)
    found = layer(
        crystal, thick=4.0, labelled=[int(crystal.positions[:, 2].argmin()), int(crystal.positions[:, 2].argmax())]
    )
    inside = np.mod(crystal.positions[:, 2], crystal.cell.lengths()[2]) < 4.0
    assert len(found["crystal"]) + len(found["other"]) == int(inside.sum())
    assert len(found["labelled"]) == int(
        inside[[crystal.positions[:, 2].argmin(), crystal.positions[:, 2].argmax()]].sum()
    )
