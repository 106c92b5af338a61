"""Labelled structures from files: whatever ASE reads, folders of VASP runs, folders of DeePMD-kit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ase import Atoms
from ase.io import iread

from idealflow.errors import InputError
from idealflow.workflow.frames.deepmd import read_system, systems

__all__ = ["read_files"]


def read_files(path: Path) -> list[Atoms]:
    """Read all structures of a dataset, with their results as the file's reader gives them.

    Parameters
    ----------
    path
        A file that ASE reads (extended XYZ, an ASE database, a trajectory, vasprun.xml, OUTCAR, ...), a folder of VASP runs
        at any depth, or a folder of DeePMD-kit's systems.

    Raises
    ------
    InputError
        If there is no such path, or it holds nothing readable.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from ase.io import write
    >>> cell = bulk("Cu", cubic=True)
    >>> cell.calc = EMT()
    >>> forces = cell.get_forces()
    >>> write("cells.extxyz", [cell, cell])
    >>> frames = read_files(Path("cells.extxyz"))
    >>> len(frames), frames[1].get_forces().shape
    (2, (4, 3))
    """
    if not path.exists():
        raise InputError(
            f"dataset {path} does not exist; in a config, file names are relative to the config, in Python to the working "
            "directory"
        )
    if not path.is_dir():
        frames = _read(path)
    elif found := systems(path):
        frames = [atoms for system in found for atoms in read_system(system)]
    else:
        frames = [atoms for run in _runs(path) for atoms in _read(run)]
    if not frames:
        raise InputError(f"dataset {path} is empty; it must hold at least one labelled structure")
    return frames


def _read(path: Path) -> list[Atoms]:
    try:
        return list(iread(path, index=":"))
    except Exception as error:  # readers may raise anything; the cause is passed on
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path} cannot be read as labelled structures: {why[:200]}; is it whole, and does its ending say what it is?"
        ) from error


def _runs(folder: Path) -> Iterator[Path]:
    """Find one file of every VASP run below a folder: vasprun.xml, else OUTCAR; compressed ones, too."""
    found = False
    for place in sorted({folder, *(path for path in folder.rglob("*") if path.is_dir())}):
        for pattern in ("vasprun*.xml*", "OUTCAR*"):
            if files := sorted(path for path in place.glob(pattern) if path.is_file()):
                yield from files
                found = True
                break
    if not found:
        raise InputError(
            f"dataset {folder} is a folder without vasprun.xml, OUTCAR (runs of VASP) or type.raw (DeePMD-kit) in it; give "
            "a file that ASE reads, or one of these folders"
        )
