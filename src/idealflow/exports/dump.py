"""LAMMPS's text dump, with columns of our own, in units ``metal``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

__all__ = ["dump_text"]

Floats = NDArray[np.float64]


def dump_text(atoms: Atoms, step: int, species: Sequence[str], columns: Mapping[str, Any]) -> str:
    """Write one frame as ``dump custom`` does: id, type, element, unwrapped positions (Å), velocities (Å/ps), more columns.

    LAMMPS has the first cell vector along x and the second in the plane of x and y, so the structure is turned that way.

    Parameters
    ----------
    atoms
        The frame.
    step
        Its number.
    species
        Chemical symbols in the order of LAMMPS's types, from 1.
    columns
        Name → a value for each atom.

    Examples
    --------
    >>> text = dump_text(Atoms("Cu", cell=[2, 3, 4], pbc=True), step=7, species=["Cu"], columns={"uncertainty": [1.5]})
    >>> print(text, end="")
    ITEM: TIMESTEP
    7
    ITEM: NUMBER OF ATOMS
    1
    ITEM: BOX BOUNDS pp pp pp
    0.0 2.0
    0.0 3.0
    0.0 4.0
    ITEM: ATOMS id type element xu yu zu vx vy vz uncertainty
    1 1 Cu 0.0 0.0 0.0 0.0 0.0 0.0 1.5
    """
    cell, origin = _box(atoms)
    turn, lower = _turned(cell)
    positions, velocities = (atoms.positions - origin) @ turn, atoms.get_velocities() @ turn * (1000.0 * units.fs)
    symbols = atoms.get_chemical_symbols()
    kinds = [species.index(symbol) + 1 for symbol in symbols]
    table = [range(1, len(atoms) + 1), kinds, symbols, *positions.T.tolist(), *velocities.T.tolist()]
    table += [np.asarray(values).tolist() for values in columns.values()]
    names = ["id", "type", "element", "xu", "yu", "zu", "vx", "vy", "vz", *columns]
    rows = "\n".join(" ".join(str(value) for value in row) for row in zip(*table, strict=True))
    head = f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{len(atoms)}\n{_bounds(lower, atoms.pbc)}"
    return f"{head}ITEM: ATOMS {' '.join(names)}\n{rows}\n"


def _box(atoms: Atoms) -> tuple[Floats, Floats]:
    """Cell vectors (3, 3) and origin (3,), Å; where the structure has no vector, one that holds its atoms."""
    cell = np.array(atoms.cell.complete(), dtype=np.float64)
    if atoms.cell.rank == 3:
        if np.linalg.det(cell) < 0.0:  # the same cell, seen from its opposite corner
            return -cell, cell.sum(axis=0)
        return cell, np.zeros(3)
    scaled = np.linalg.solve(cell.T, atoms.positions.T).T
    missing = ~np.asarray(atoms.cell.array.any(axis=1))
    low = np.where(missing, np.floor(scaled.min(axis=0)) - 1.0, 0.0)
    high = np.where(missing, np.ceil(scaled.max(axis=0)) + 1.0, 1.0)
    return cell * (high - low)[:, None], low @ cell


def _turned(cell: Floats) -> tuple[Floats, Floats]:
    """The rotation (3, 3), applied from the right, and the turned cell, lower triangular, of a right-handed cell."""
    rotation, upper = np.linalg.qr(cell.T)
    signs = np.where(np.diag(upper) < 0.0, -1.0, 1.0)
    return np.asarray(rotation * signs), np.asarray((upper * signs[:, None]).T)


def _bounds(lower: Floats, pbc: Sequence[bool]) -> str:
    """The lines of the box."""
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = lower.tolist()
    edges = " ".join("pp" if periodic else "ff" for periodic in pbc)
    if max(abs(xy), abs(xz), abs(yz)) < 1e-12 * max(lx, ly, lz):
        return f"ITEM: BOX BOUNDS {edges}\n0.0 {lx!r}\n0.0 {ly!r}\n0.0 {lz!r}\n"
    x_low, x_high = min(0.0, xy, xz, xy + xz), lx + max(0.0, xy, xz, xy + xz)
    y_low, y_high = min(0.0, yz), ly + max(0.0, yz)
    rows = f"{x_low!r} {x_high!r} {xy!r}\n{y_low!r} {y_high!r} {xz!r}\n0.0 {lz!r} {yz!r}\n"
    return f"ITEM: BOX BOUNDS xy xz yz {edges}\n{rows}"
