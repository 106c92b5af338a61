"""DeePMD-kit's folders of labelled structures, as DP-GEN collects them: ``type.raw``, ``type_map.raw``, ``set.*/*.npy``.

The format is that of DeePMD-kit's documentation ("Data conversion"): energy in eV, coordinates in Å, forces in eV/Å,
virial in eV (−stress · volume in ASE's sign).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms

from idealflow.core.structure import set_label
from idealflow.errors import InputError

__all__ = ["read_system", "systems"]


def systems(folder: Path) -> list[Path]:
    """Folders of one system each, at any depth of ``folder``, in order of their paths."""
    return sorted(path.parent for path in folder.rglob("type.raw"))


def read_system(folder: Path) -> list[Atoms]:
    """All structures of one system, with energy and forces as results, and ``virial`` (3, 3), eV, in ``info``.

    Raises
    ------
    InputError
        If a file is missing or its shape does not fit, or the species have no names.
    """
    names = folder / "type_map.raw"
    if not names.is_file():
        raise InputError(f"{folder} has no type_map.raw, so its species are unknown; write their symbols into it")
    symbols = names.read_text().split()
    types = np.loadtxt(folder / "type.raw", dtype=int, ndmin=1)
    periodic = not (folder / "nopbc").exists()
    sets = sorted(path for path in folder.glob("set.*") if path.is_dir())
    if not sets:
        raise InputError(f"{folder} has no set.*/ with npy files; convert its raw files with dpdata or raw_to_set.sh")
    return [atoms for each in sets for atoms in _read_set(each, symbols, types, periodic)]


def _read_set(folder: Path, symbols: list[str], types: np.ndarray, periodic: bool) -> Iterator[Atoms]:
    coordinates = _array(folder, "coord.npy", 3 * len(types))
    n = len(coordinates)
    energies, forces = _array(folder, "energy.npy", 1, n), _array(folder, "force.npy", 3 * len(types), n)
    boxes = _array(folder, "box.npy", 9, n) if periodic else np.zeros((n, 9))
    virials = _array(folder, "virial.npy", 9, n) if (folder / "virial.npy").is_file() else None
    mixed = folder / "real_atom_types.npy"
    kinds = _array(folder, mixed.name, len(types), n).astype(int) if mixed.is_file() else np.tile(types, (n, 1))
    if kinds.max() >= len(symbols):
        raise InputError(f"{folder.parent} has atoms of type {kinds.max()}, type_map.raw names {len(symbols)} species")
    for i in range(n):
        real = kinds[i] >= 0  # systems of mixed type are filled up with atoms of type -1
        atoms = Atoms(
            [symbols[kind] for kind in kinds[i][real]],
            positions=coordinates[i].reshape(-1, 3)[real],
            cell=boxes[i].reshape(3, 3),
            pbc=periodic,
        )
        set_label(atoms, energies[i, 0], forces[i].reshape(-1, 3)[real])
        if virials is not None:
            atoms.info["virial"] = virials[i].reshape(3, 3)
        yield atoms


def _array(folder: Path, name: str, width: int, n: int | None = None) -> np.ndarray:
    """An npy file as float64 of shape (n, width)."""
    path = folder / name
    if not path.is_file():
        raise InputError(f"{path} does not exist; a labelled system needs coord, box, energy and force")
    values = np.load(path, allow_pickle=False)
    if values.size % width or (n is not None and values.size != n * width):
        wanted = f"({'n' if n is None else n}, {width})"
        raise InputError(f"{path} must have the shape {wanted}, got {values.shape}")
    return np.asarray(values, dtype=np.float64).reshape(-1, width)
