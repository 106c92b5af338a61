"""Structures from files, builder mappings, pymatgen and ase objects, checked before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import make_supercell

from idealflow.core.fixed_atoms import fixed_directions, set_fixed
from idealflow.core.overlap import find_overlap
from idealflow.core.structure import of_the_label, repeated_totals, totals_of
from idealflow.errors import InputError, did_you_mean
from idealflow.schemas import StoredStructure
from idealflow.structures import crystal, from_builder
from idealflow.structures.given import composition
from idealflow.workflow.frames.check import check_occupancies, check_structure
from idealflow.workflow.frames.encode import to_atoms
from idealflow.workflow.frames.read import from_pymatgen, plain, read_structure

__all__ = ["STRUCTURE_DEFAULTS", "build_structure", "perturbed", "repeats_to"]

#: values of the keys that a mapping of a structure may leave out
STRUCTURE_DEFAULTS = {"repeat": 1, "vacancies": 0, "seed": 0, "cubic": False}

_FILE_KEYS = {"file", "frame", "repeat", "vacancies", "seed"}
_BUILDER_KEYS = {"element", "crystal", "a", "c", "cubic", "repeat", "vacancies", "seed"}
#: how often strain and displacements are drawn until no two atoms are too close
_TRIES = 50


def build_structure(source: Any) -> Atoms:
    """Make ase Atoms of what describes a structure, in a config or in Python.

    Parameters
    ----------
    source
        Path of a file that ase or pymatgen reads; a mapping ``{"file": path, "frame": -1, "repeat": [..], "vacancies": n}``; a
        builder mapping ``{"element": "Cu", "crystal": "fcc", "a": 3.61, "cubic": true, "repeat": [5, 5, 5], "vacancies": 1}``
        (compounds by formula, e.g. element ``NaCl`` with crystal ``rocksalt``); a mapping ``{"builder": "particle", ...}`` of a
        builder of :mod:`idealflow.structures`; ase Atoms; pymatgen Structure.

    Raises
    ------
    InputError
        For a missing or unreadable file, an unknown key, an impossible builder, or a structure that no stage could work on
        (:func:`~idealflow.workflow.frames.check.check_structure`).

    Examples
    --------
    >>> copper = {"element": "Cu", "crystal": "fcc", "a": 3.61, "cubic": True, "repeat": [5, 5, 5], "vacancies": 1}
    >>> len(build_structure(copper))
    499
    >>> build_structure({"element": "Cu", "repat": 5})
    Traceback (most recent call last):
    idealflow.errors.InputError: unknown key 'repat' in structure (did you mean 'repeat'?); one of this kind has a, c, ...
    """
    if isinstance(source, Atoms):
        atoms = plain(source)
    elif isinstance(source, StoredStructure):
        atoms = to_atoms(source)
    elif isinstance(source, (str, Path)):
        atoms = read_structure(Path(source))
    elif isinstance(source, dict) and "numbers" in source:
        atoms = to_atoms(StoredStructure.model_validate(source))
    elif isinstance(source, dict) and "@class" not in source:
        atoms = _built(dict(source))
    else:
        atoms = from_pymatgen(source)
    check_structure(atoms)
    return atoms


def perturbed(
    atoms: Atoms, rng: np.random.Generator, *, min_atoms: int, rattle: tuple[float, float], strain: float
) -> Atoms:
    """Make a supercell of ``atoms`` with at least ``min_atoms`` atoms, randomly strained and rattled.

    It keeps moments (copies have those of their original), charge and spin, but neither masses nor fixed atoms, which do not
    matter to a label. A draw that brings two atoms closer than half the sum of their covalent radii is thrown away, and the next
    one is taken.

    Parameters
    ----------
    atoms
        The structure, which stays as it is.
    rng
        Source of strain and displacements.
    min_atoms
        The shortest periodic cell vector is doubled until there are so many atoms.
    rattle
        Lowest and highest standard deviation of the displacements, Å; one value is drawn.
    strain
        Largest absolute value of each component of the (symmetric) strain.

    Raises
    ------
    InputError
        If 50 draws in a row bring atoms too close.

    Examples
    --------
    >>> from ase.build import bulk
    >>> cell = perturbed(bulk("Cu"), np.random.default_rng(1), min_atoms=30, rattle=(0.02, 0.1), strain=0.04)
    >>> len(cell), bool(np.ptp(cell.get_all_distances(mic=True)[0, 1:]) > 0)
    (32, True)
    """
    start = of_the_label(atoms)
    for axis in _doublings(start, min_atoms):
        repeat = np.eye(3, dtype=int)
        repeat[axis, axis] = 2
        start = make_supercell(start, repeat)
    start.info.update(repeated_totals(totals_of(atoms), len(start) // len(atoms)))
    for _ in range(_TRIES):
        cell = _deformed(start, rng, rattle=rattle, strain=strain)
        overlap = find_overlap(cell)
        if overlap is None:
            return of_the_label(cell)
        found = overlap.described(cell)
    raise InputError(
        f"bootstrap.rattle = {list(rattle)} Å and bootstrap.strain = {strain} bring atoms too close in {_TRIES} draws of a "
        f"structure of {len(start)} atoms: {found}; lower them"
    )


def repeats_to(atoms: Atoms, min_atoms: int) -> int:
    """Tell how many times a structure is repeated to have at least so many atoms; 1 where no direction is periodic.

    Examples
    --------
    >>> from ase.build import bulk
    >>> repeats_to(bulk("Cu", cubic=True), 30)
    8
    """
    return int(2 ** len(_doublings(atoms, min_atoms)))


def _doublings(atoms: Atoms, min_atoms: int) -> list[int]:
    """Axes along which the cell is doubled in turn, always the shortest, until it has ``min_atoms`` atoms."""
    lengths = np.where(atoms.pbc, atoms.cell.lengths(), np.inf)
    axes: list[int] = []
    while len(atoms) * 2 ** len(axes) < min_atoms and np.isfinite(lengths).any():
        axes.append(int(np.argmin(lengths)))
        lengths[axes[-1]] *= 2.0
    return axes


def _deformed(start: Atoms, rng: np.random.Generator, *, rattle: tuple[float, float], strain: float) -> Atoms:
    """Return a copy, strained along its periodic directions and rattled."""
    cell = start.copy()
    components = rng.uniform(-strain, strain, (3, 3))
    periodic = np.outer(cell.pbc, cell.pbc)
    deformation = np.eye(3) + np.where(periodic, (components + components.T) / 2, 0.0)
    cell.set_cell(np.asarray(cell.cell) @ deformation, scale_atoms=True)
    cell.positions += rng.normal(0.0, rng.uniform(*rattle), cell.positions.shape)
    return cell


def _built(settings: dict[str, Any]) -> Atoms:
    if "builder" in settings:
        return from_builder(settings, build_structure)
    known = _FILE_KEYS if "file" in settings else _BUILDER_KEYS
    unknown = sorted(set(settings) - known)
    if unknown:
        raise InputError(
            f"unknown key {unknown[0]!r} in structure{did_you_mean(unknown[0], known)}; one of this kind has "
            f"{', '.join(sorted(known))}"
        )
    full = STRUCTURE_DEFAULTS | settings
    if "file" in settings:
        if not isinstance(settings["file"], str | Path):
            raise InputError(f"structure.file must be the name of a file, got {settings['file']!r}")
        frame = settings.get("frame")
        if frame is not None and (isinstance(frame, bool) or not isinstance(frame, int)):
            raise InputError(f"frame must be a whole number, counted from 0 or from -1 backwards, got {frame!r}")
        atoms = read_structure(Path(settings["file"]), frame)
        check_occupancies(atoms)
    else:
        atoms = _crystal(settings)
    repeats = _repeats(full["repeat"])
    totals = repeated_totals(totals_of(atoms), int(np.prod(repeats)))
    atoms = atoms.repeat(repeats)
    atoms.info.update(totals)
    vacancies = _whole("vacancies", full["vacancies"])
    seed = _whole("seed", full["seed"])
    if seed < 0:
        raise InputError(f"seed of a structure must be at least 0, got {seed}")
    if not 0 <= vacancies < len(atoms):
        raise InputError(f"vacancies must be at least 0 and below the {len(atoms)} atoms, got {vacancies}")
    rng = np.random.default_rng(seed)
    gone = rng.choice(len(atoms), vacancies, replace=False).tolist()
    fixed = np.delete(fixed_directions(atoms), gone, axis=0)
    atoms.set_constraint()  # ASE deletes no atoms of FixCartesian
    del atoms[gone]
    set_fixed(atoms, fixed)
    return atoms


def _whole(name: str, value: Any) -> int:
    """Return a whole number that was given as such or as a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise InputError(f"{name} of a structure must be a whole number, got {value!r}")
    return int(value)


def _repeats(value: Any) -> list[int]:
    counts = value if isinstance(value, (list, tuple)) else [value] * 3
    if len(counts) != 3 or not all(
        isinstance(count, int) and not isinstance(count, bool) and count >= 1 for count in counts
    ):
        raise InputError(f"structure.repeat must be a whole number of at least 1, or three of them, got {value!r}")
    return list(counts)


def _crystal(settings: dict[str, Any]) -> Atoms:
    if "element" not in settings:
        raise InputError("a structure needs `file` or `element` (with crystal, a, repeat, vacancies)")
    composition(settings["element"])
    optional = {key: settings[key] for key in ("a", "c") if key in settings}
    return crystal(settings["element"], settings.get("crystal"), cubic=bool(settings.get("cubic", False)), **optional)
