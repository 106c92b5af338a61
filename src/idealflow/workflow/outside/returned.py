"""Labels that come back, read from files: extended XYZ and whatever else ASE reads, or folders of VASP's runs."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import read

from idealflow.errors import InputError
from idealflow.workflow.frames.dataset_files import read_files
from idealflow.workflow.frames.dataset_keys import labelled
from idealflow.workflow.jobs.progress import note
from idealflow.workflow.outside.requests import REQUEST_FILE

__all__ = ["ReturnedLabel", "read_returned"]


@dataclass(frozen=True, eq=False)
class ReturnedLabel:
    """One label that came back, or the message that there is none.

    Attributes
    ----------
    key
        Request key.
    where
        Where it was found, for messages.
    atoms
        The structure as it came back, with energy (eV), forces (eV/Å) and maybe stress (eV/Å³) as results; None if it failed.
    engine
        Program and version, if the file says so.
    failed
        Why there is no label; None if there is one.
    seconds
        Wall time of the label, s, if the file says so; 0 if not.

    Examples
    --------
    >>> ReturnedLabel("li/bootstrap/000000", "cells.extxyz", failed="SCF did not converge").atoms is None
    True
    """

    key: str
    where: str
    atoms: Atoms | None = None
    engine: str | None = None
    failed: str | None = None
    seconds: float = 0.0


def read_returned(path: Path) -> list[ReturnedLabel]:
    """Read labels that came back.

    Parameters
    ----------
    path
        A file that ASE reads, in which every structure has its ``request_key``, with energy, forces and stress under the names of
        ASE, MACE, QUIP or GPUMD; ``failed`` with a cause in place of energy and forces, ``engine`` and ``seconds`` if known. Or
        the folder that `idealflow export --requests --format vasp` wrote, in which VASP has run; runs that are not there yet
        are left out.

    Raises
    ------
    InputError
        If it can not be read, a structure has no key or no label, a key occurs twice, or a run of VASP did not converge.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.io import write
    >>> cell = bulk("Cu")
    >>> cell.info = {"request_key": "copper/bootstrap/000000", "failed": "SCF did not converge"}
    >>> write("cells.extxyz", cell)
    >>> [(label.key, label.failed) for label in read_returned(Path("cells.extxyz"))]
    [('copper/bootstrap/000000', 'SCF did not converge')]
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; name the file or folder with the labels that came back")
    folders = sorted(file.parent for file in path.rglob(REQUEST_FILE)) if path.is_dir() else []
    found = _runs(path, folders) if folders else _structures(path)
    keys = [label.key for label in found]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise InputError(f"{path} has two labels for {twice[0]}; leave one of them out")
    return found


def _structures(path: Path) -> list[ReturnedLabel]:
    frames = read_files(path)
    for number, atoms in enumerate(frames):
        if not isinstance(atoms.info.get("request_key"), str):
            raise InputError(
                f"structure {number} of {path} has no request_key, by which `idealflow export --requests` names every cell; keep "
                "it in the comment line or among the key-value pairs"
            )
    whole = [atoms for atoms in frames if "failed" not in atoms.info]
    results = iter(labelled(whole, path) if whole else [])
    found = []
    for atoms in frames:
        failed = atoms.info.get("failed")
        engine = atoms.info.get("engine")
        found.append(
            ReturnedLabel(
                key=atoms.info["request_key"],
                where=str(path),
                atoms=next(results) if failed is None else None,
                engine=None if engine is None else str(engine),
                failed=None if failed is None else str(failed),
                seconds=_seconds(atoms.info.get("seconds"), path),
            )
        )
    return found


def _seconds(given: Any, path: Path) -> float:
    if given is None:
        return 0.0
    try:
        seconds = float(given)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0.0 <= seconds < float("inf"):
        raise InputError(f"{path}: seconds of a label are a number of at least 0, got {given!r}")
    return seconds


def _runs(path: Path, folders: list[Path]) -> list[ReturnedLabel]:
    """The runs of VASP in folders of requests."""
    found = []
    for folder in folders:
        key = _key_in(folder / REQUEST_FILE)
        runs = sorted(folder.glob("vasprun.xml*"))
        if (told := folder / "failed.txt").is_file():
            found.append(
                ReturnedLabel(
                    key, str(folder), failed=" ".join(told.read_text(errors="replace").split()) or "no cause is told"
                )
            )
        elif runs:
            found.append(_run(key, folder, runs[0]))
    if len(found) < len(folders):
        note("dataset", f"{path}: {len(folders) - len(found)} of {len(folders)} folders have no vasprun.xml yet")
    if not found:
        where = "its one folder" if len(folders) == 1 else f"any of its {len(folders)} folders"
        raise InputError(f"{path} has no vasprun.xml in {where} yet; let VASP run first")
    return found


def _run(key: str, folder: Path, run: Path) -> ReturnedLabel:
    from pymatgen.io.vasp.outputs import UnconvergedVASPWarning, Vasprun

    remedy = f"let it run again, or write the cause into {folder / 'failed.txt'} to give the label up"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnconvergedVASPWarning)  # which is said below, in our way
            whole = Vasprun(str(run), parse_dos=False, parse_eigen=False, parse_potcar_file=False)
        atoms = read(run, index=-1)
    except Exception as error:  # readers may raise anything; the cause is passed on
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{run} cannot be read: {why[:200]}; {remedy}") from error
    if not whole.converged_electronic:
        raise InputError(f"{run}: the electrons did not converge; {remedy}")
    return ReturnedLabel(key, str(run), labelled([atoms], run)[0], f"VASP {whole.vasp_version}")


def _key_in(file: Path) -> str:
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["request_key"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} does not name a request_key; write the requests again") from error
