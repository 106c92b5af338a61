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
    """Find DeePMD-kit's systems (folders with a ``type.raw``) at any depth of ``folder``, sorted by path.

    Examples
    --------
    >>> for name in ("data/b", "data/a"):
    ...     Path(name).mkdir(parents=True)
    ...     n = Path(name, "type.raw").write_text("0 0")
    >>> [system.name for system in systems(Path("data"))]
    ['a', 'b']
    """
    return sorted(path.parent for path in folder.rglob("type.raw"))


def read_system(folder: Path) -> list[Atoms]:
    """Read all structures of one system, with energy (eV) and forces (eV/Å) as results, and ``virial`` (3, 3; eV) in ``info``.

    Raises
    ------
    InputError
        If a file is missing or its shape does not fit, or the species have no names.

    Examples
    --------
    Two frames of a copper dimer in a box of 8 Å:

    >>> folder = Path("dimer")
    >>> (folder / "set.000").mkdir(parents=True)
    >>> n = (folder / "type.raw").write_text("0 0"), (folder / "type_map.raw").write_text("Cu")
    >>> arrays = {"coord": [[0, 0, 0, 0, 0, 2.2]], "energy": [[-1.5]], "force": [[0, 0, 0.1, 0, 0, -0.1]], "box": [8 * np.eye(3)]}
    >>> for name, values in arrays.items():
    ...     np.save(folder / "set.000" / name, np.repeat(values, 2, axis=0).reshape(2, -1))
    >>> frames = read_system(folder)
    >>> len(frames), frames[0].get_chemical_formula(), frames[0].get_potential_energy()
    (2, 'Cu2', -1.5)
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
        real = kinds[i] >= 0  # systems of mixed type are padded with atoms of type -1
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
    """Read an npy file as float64 of shape (n, width)."""
    path = folder / name
    if not path.is_file():
        raise InputError(f"{path} does not exist; a labelled system needs coord, box, energy and force")
    values = np.load(path, allow_pickle=False)
    if values.size % width or (n is not None and values.size != n * width):
        wanted = f"({'n' if n is None else n}, {width})"
        raise InputError(f"{path} must have the shape {wanted}, got {values.shape}")
    return np.asarray(values, dtype=np.float64).reshape(-1, width)
