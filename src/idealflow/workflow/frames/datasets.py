"""Labelled datasets from the user's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ase import Atoms

from idealflow.errors import InputError
from idealflow.labelling import geometry_key
from idealflow.workflow.frames.check import check_structure
from idealflow.workflow.frames.dataset_files import read_files
from idealflow.workflow.frames.dataset_keys import DatasetKey, labelled
from idealflow.workflow.jobs.progress import note

__all__ = ["read_dataset"]


def read_dataset(path: str | Path, keys: Mapping[DatasetKey, str] | None = None) -> list[Atoms]:
    """Read a labelled dataset: energy (eV), forces (eV/Å) and, where known, stress (eV/Å³) as results of every structure.

    Parameters
    ----------
    path
        Whatever :func:`~idealflow.workflow.frames.dataset_files.read_files` reads.
    keys
        Names under which the files have energy, forces, stress or virial; those of ASE, MACE, QUIP and GPUMD are known.

    Raises
    ------
    InputError
        If the dataset is missing, empty or unreadable, if a structure lacks energy or forces, or if no stage could work on it.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from ase.io import write
    >>> cells = [bulk("Cu", a=a, cubic=True) for a in (3.5, 3.6, 3.7)]
    >>> for cell in cells:
    ...     cell.calc = EMT()
    ...     stress = cell.get_stress()
    >>> write("cells.extxyz", cells)
    >>> frames = read_dataset("cells.extxyz")
    >>> len(frames), sorted(frames[0].calc.results)
    (3, ['energy', 'forces', 'stress'])
    """
    path = Path(path)
    frames = labelled(read_files(path), path, keys)
    for i, atoms in enumerate(frames):
        atoms.set_constraint()  # the dataset's own; forces are learned on every atom
        if atoms.arrays.get("initial_magmoms", atoms.numbers).ndim != 1:
            del atoms.arrays["initial_magmoms"]  # not collinear, which nothing here could use
        try:
            check_structure(atoms)
        except InputError as error:
            raise InputError(f"structure {i} of {path}: {error}") from error
    _say_duplicates(frames, path)
    return frames


def _say_duplicates(frames: Sequence[Atoms], path: Path) -> None:
    """Note which structures occur more than once."""
    first: dict[str, int] = {}
    again = [
        (first[key], i)
        for i, key in enumerate(geometry_key(atoms, {}) for atoms in frames)
        if first.setdefault(key, i) != i
    ]
    if not again:
        return
    one, other = again[0]
    apart = max(
        abs(frames[i].calc.results["energy"] - frames[j].calc.results["energy"]) / len(frames[i]) for i, j in again
    )
    note(
        "dataset",
        f"{path.name}: {len(again)} of {len(frames)} structures are in it already (the first is {other}, the same as {one})"
        + (f"; their energies differ by up to {1000 * apart:.3g} meV per atom" if apart > 1e-6 else "")
        + "; they count as often as they occur",
    )
