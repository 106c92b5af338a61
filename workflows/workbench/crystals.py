"""Crystals that checks and benchmarks measure on: perfect, rattled, of about so many atoms."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal


def lithium(shape: int | tuple[int, int, int], *, a: float = 3.49) -> Atoms:
    """Body-centred cubic lithium: cubic cells of two atoms, repeated; ``a`` in Å."""
    return bulk("Li", "bcc", a=a, cubic=True).repeat(shape)


def copper(repeat: int, *, a: float = 3.62) -> Atoms:
    """Face-centred cubic copper: cubic cells of four atoms, repeated; ``a`` in Å."""
    return bulk("Cu", "fcc", a=a, cubic=True).repeat(repeat)


def nickel_aluminide(repeat: int, *, a: float = 3.60) -> Atoms:
    """Ni₃Al in its structure L1₂: cubic cells of four atoms, repeated; ``a`` in Å."""
    cell = bulk("Ni", "fcc", a=a, cubic=True)
    cell.symbols[0] = "Al"
    return cell.repeat(repeat)


def corundum(
    lengths: tuple[float, float] = (4.76, 12.99), oxygen: float = 0.30633, aluminium: float = 0.35219
) -> Atoms:
    """The hexagonal cell of α-Al₂O₃, 30 atoms; lengths a and c in Å, and the two free coordinates of the sites."""
    a, c = lengths
    return crystal(
        ("Al", "O"),
        [(0, 0, aluminium), (oxygen, 0, 0.25)],
        spacegroup=167,
        cellpar=[a, a, c, 90, 90, 120],
    )


def repeated(cell: Atoms, n_atoms: int) -> Atoms:
    """Supercell of at least so many atoms, as cubic as it gets."""
    counts = np.ones(3, dtype=int)
    while len(cell) * counts.prod() < n_atoms:
        counts[np.argmin(counts * cell.cell.lengths())] += 1
    return cell.repeat(counts)


def rattled(atoms: Atoms, width: float, seed: object) -> Atoms:
    """A copy displaced by normal noise of so many Å per component."""
    moved = atoms.copy()
    moved.positions += np.random.default_rng(seed).normal(scale=width, size=atoms.positions.shape)
    return moved
