"""Structures in: files, builders, pymatgen and ase objects; checked before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.io import read

from idealflow.errors import InputError
from idealflow.schemas import StoredStructure
from idealflow.workflow.frames.encode import to_atoms

__all__ = ["build_structure", "check_structure", "perturbed"]

_BUILDER_KEYS = {"element", "crystal", "a", "c", "cubic", "repeat", "vacancies", "seed"}


def build_structure(source: Any) -> Atoms:
    """The ase Atoms that a config entry or a Python object describes.

    Parameters
    ----------
    source
        Path of a file that ase or pymatgen reads; a mapping ``{"file": path, "repeat": [..], "vacancies": n}``; a builder
        mapping ``{"element": "Cu", "crystal": "fcc", "a": 3.61, "cubic": true, "repeat": [5, 5, 5], "vacancies": 1}``
        (compounds by formula, e.g. element ``NaCl`` with crystal ``rocksalt``); ase Atoms; pymatgen Structure.

    Raises
    ------
    InputError
        For a missing or unreadable file, an unknown key or an impossible builder.
    """
    if isinstance(source, Atoms):
        atoms = source.copy()
    elif isinstance(source, StoredStructure):
        atoms = to_atoms(source)
    elif isinstance(source, (str, Path)):
        atoms = _read(Path(source))
    elif isinstance(source, dict) and "numbers" in source:
        atoms = to_atoms(StoredStructure.model_validate(source))
    elif isinstance(source, dict) and "@class" not in source:
        atoms = _built(dict(source))
    else:
        atoms = _from_pymatgen(source)
    check_structure(atoms)
    return atoms


def check_structure(atoms: Atoms) -> None:
    """Refuse structures that no stage could work on.

    Raises
    ------
    InputError
        For no atoms, positions that are not finite, unknown species, or a flat cell along a periodic direction.
    """
    if len(atoms) == 0:
        raise InputError("the structure has no atoms")
    bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
    if bad.size:
        raise InputError(f"positions must be finite, atom {bad[0]} is at {atoms.positions[bad[0]].tolist()}")
    if (atoms.numbers < 1).any():
        raise InputError(f"atom {int(np.argmin(atoms.numbers))} has no known species (atomic number 0)")
    if atoms.pbc.any() and abs(np.linalg.det(atoms.cell.complete())) < 1e-6:
        raise InputError(f"a periodic structure needs a cell with a volume, got {np.asarray(atoms.cell).tolist()}")


def perturbed(
    atoms: Atoms, rng: np.random.Generator, *, min_atoms: int, rattle: tuple[float, float], strain: float
) -> Atoms:
    """A supercell of ``atoms`` with at least ``min_atoms`` atoms, randomly strained and rattled.

    Parameters
    ----------
    rattle
        Lowest and highest standard deviation of the displacements, Å; one value is drawn.
    strain
        Largest absolute value of each component of the (symmetric) strain.
    """
    cell = atoms.copy()
    while len(cell) < min_atoms:
        lengths = np.where(cell.pbc, cell.cell.lengths(), np.inf)
        if not np.isfinite(lengths).any():
            break
        repeat = np.eye(3, dtype=int)
        shortest = int(np.argmin(lengths))
        repeat[shortest, shortest] = 2
        cell = make_supercell(cell, repeat)
    components = rng.uniform(-strain, strain, (3, 3))
    periodic = np.outer(cell.pbc, cell.pbc)
    deformation = np.eye(3) + np.where(periodic, (components + components.T) / 2, 0.0)
    cell.set_cell(np.asarray(cell.cell) @ deformation, scale_atoms=True)
    cell.positions += rng.normal(0.0, rng.uniform(*rattle), cell.positions.shape)
    return Atoms(numbers=cell.numbers, positions=cell.positions, cell=cell.cell, pbc=cell.pbc)


def _read(path: Path) -> Atoms:
    if path.is_dir():
        raise InputError(f"structure file {path} is a folder; give a file in it")
    if not path.is_file():
        raise InputError(
            f"structure file {path} does not exist; in a config, file names are relative to the config, in Python to the "
            "working directory"
        )
    problems = []
    for reader in (_read_with_ase, _read_with_pymatgen):
        try:
            return reader(path)
        except Exception as error:  # noqa: BLE001  # readers raise anything; both causes are reported below
            problems.append(f"{reader.__name__.rsplit('_', 1)[-1]}: {error or type(error).__name__}")
    raise InputError(f"structure file {path} cannot be read ({'; '.join(problems)})")


def _read_with_ase(path: Path) -> Atoms:
    return read(path)


def _read_with_pymatgen(path: Path) -> Atoms:
    from pymatgen.core import Structure

    return _from_pymatgen(Structure.from_file(path))


def _from_pymatgen(source: Any) -> Atoms:
    from pymatgen.core import SiteCollection, Structure
    from pymatgen.io.ase import AseAtomsAdaptor

    if isinstance(source, dict):
        source = Structure.from_dict(source)
    if not isinstance(source, SiteCollection):
        raise InputError(f"a structure is a file, a builder mapping, Atoms or Structure, got {type(source).__name__}")
    if not getattr(source, "is_ordered", True):
        raise InputError("the structure has sites of partial occupancy; order it first")
    return AseAtomsAdaptor.get_atoms(source, msonable=False)


def _built(settings: dict[str, Any]) -> Atoms:
    if "file" in settings:
        unknown = set(settings) - {"file", "repeat", "vacancies", "seed"}
        atoms = _read(Path(settings["file"])) if not unknown else None
    else:
        unknown = set(settings) - _BUILDER_KEYS
        atoms = _crystal(settings) if not unknown else None
    if atoms is None:
        raise InputError(f"unknown keys in structure: {sorted(unknown)}; a builder has {sorted(_BUILDER_KEYS)}")
    atoms = atoms.repeat(_repeats(settings.get("repeat", 1)))
    vacancies = _whole("vacancies", settings.get("vacancies", 0))
    seed = _whole("seed", settings.get("seed", 0))
    if seed < 0:
        raise InputError(f"seed of a structure must be at least 0, got {seed}")
    if not 0 <= vacancies < len(atoms):
        raise InputError(f"vacancies must be at least 0 and below the {len(atoms)} atoms, got {vacancies}")
    rng = np.random.default_rng(seed)
    del atoms[rng.choice(len(atoms), vacancies, replace=False).tolist()]
    return atoms


def _whole(name: str, value: Any) -> int:
    """A whole number, as such or as a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise InputError(f"{name} of a structure must be a whole number, got {value!r}")
    return int(value)


def _repeats(value: Any) -> list[int]:
    counts = value if isinstance(value, (list, tuple)) else [value] * 3
    if len(counts) != 3 or not all(isinstance(count, int) and count >= 1 for count in counts):
        raise InputError(f"repeat must be a whole number of at least 1, or three of them, got {value!r}")
    return list(counts)


def _crystal(settings: dict[str, Any]) -> Atoms:
    if "element" not in settings:
        raise InputError("a structure needs `file` or `element` (with crystal, a, repeat, vacancies)")
    optional = {key: settings[key] for key in ("a", "c") if key in settings}
    try:
        return bulk(settings["element"], settings.get("crystal"), cubic=bool(settings.get("cubic", False)), **optional)
    except Exception as error:  # the builder raises anything; the cause is passed on
        raise InputError(f"cannot build {settings}: {error or type(error).__name__}") from error
