"""Extended XYZ whose numbers come back exact, under keys of our own choice.

ASE's writer keeps eight decimals. This one writes the shortest text of every number that reads back to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

__all__ = ["XyzFrame", "frame_text", "write_extxyz"]

#: a structure, what its comment line says beside the cell, and its columns beside species and positions
XyzFrame = tuple[Atoms, Mapping[str, Any], Mapping[str, Any]]

_KINDS = {"i": "I", "u": "I", "f": "R", "b": "L", "U": "S"}
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.:/")


def write_extxyz(path: Path, frames: Iterable[XyzFrame]) -> int:
    """Write frames to a file, one after the other; returns how many.

    Parameters
    ----------
    path
        The file.
    frames
        Structure, values of the comment line (None is left out), and arrays with a row for each atom.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.io import read
    >>> atoms = bulk("Cu", a=3.6100000001)
    >>> write_extxyz(Path("cu.extxyz"), [(atoms, {"energy": -1 / 3, "label": "a b"}, {"forces": np.zeros((1, 3))})])
    1
    >>> back = read("cu.extxyz")
    >>> bool(back.get_potential_energy() == -1 / 3), bool((back.cell == atoms.cell).all()), back.info["label"]
    (True, True, 'a b')
    """
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for atoms, info, arrays in frames:
            file.write(frame_text(atoms, info, arrays))
            count += 1
    return count


def frame_text(atoms: Atoms, info: Mapping[str, Any], arrays: Mapping[str, Any]) -> str:
    """Write one structure as extended XYZ; arguments as in :func:`write_extxyz`.

    Examples
    --------
    >>> print(frame_text(Atoms("H", [[0, 0, 0.5]]), {"energy": -13.6}, {"learned": np.array([True])}), end="")
    1
    Properties=species:S:1:pos:R:3:learned:L:1 energy=-13.6 pbc="F F F"
    H 0.0 0.0 0.5 T
    """
    columns = {"species": np.asarray(atoms.get_chemical_symbols()), "pos": atoms.positions}
    columns |= {name: np.asarray(values) for name, values in arrays.items()}
    kinds = [f"{name}:{_KINDS[array.dtype.kind]}:{array[0].size}" for name, array in columns.items()]
    parts = [f'Lattice="{_numbers(atoms.cell.array)}"'] if atoms.cell.any() else []
    parts.append(f"Properties={':'.join(kinds)}")
    parts += [f"{key}={_value(value)}" for key, value in info.items() if value is not None]
    parts.append(f'pbc="{" ".join("T" if periodic else "F" for periodic in atoms.pbc)}"')
    fields = [part for array in columns.values() for part in _columns(array)]
    rows = "\n".join(map(" ".join, zip(*fields, strict=True)))
    return f"{len(atoms)}\n{' '.join(parts)}\n{rows}\n"


def _columns(array: np.ndarray) -> list[list[str]]:
    """The texts of an array with a row for each atom, column by column."""
    flat = array.reshape(len(array), -1)
    return [[_plain(value) for value in column] for column in flat.T.tolist()]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "T" if value else "F"
    return value if isinstance(value, str) else repr(value)


def _numbers(array: np.ndarray) -> str:
    return " ".join(_plain(value) for value in np.asarray(array).ravel().tolist())


def _value(value: Any) -> str:
    """The text of a value in the comment line; quoted where it has blanks or signs of the format."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple, np.ndarray)):
        return f'"{_numbers(np.asarray(value))}"'
    if not isinstance(value, str):
        return _plain(value)
    if value and set(value) <= _PLAIN:
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
