"""Structures from files and from pymatgen. All that they say is kept; files that leave species to guessing are refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixScaled
from ase.data import atomic_masses, chemical_symbols
from ase.formula import Formula
from ase.io import iread
from ase.io.formats import UnknownFileTypeError, filetype, open_with_compression
from numpy.typing import NDArray

from idealflow.core.fixed_atoms import constraints_of, fixed_directions, set_fixed
from idealflow.core.structure import totals_of
from idealflow.errors import InputError
from idealflow.workflow.jobs.progress import Progress, emit

__all__ = ["from_pymatgen", "plain", "read_structure"]

#: largest relative difference between a mass in a LAMMPS file and the mass of an element for the two to be the same
_MASS_TOLERANCE = 0.01


def read_structure(path: Path, frame: int | None = None) -> Atoms:
    """Read one structure from a file that ase or pymatgen reads.

    Parameters
    ----------
    path
        The file.
    frame
        Which frame of a file of several, counted from 0 or, if negative, from the end. None: the last, and the user is told.

    Raises
    ------
    InputError
        If the file is missing or unreadable, has no such frame, or does not hold the atoms' species.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.io import write
    >>> write("cells.extxyz", [bulk("Cu", cubic=True), bulk("Au", cubic=True)])
    >>> read_structure(Path("cells.extxyz"), frame=0).get_chemical_formula()
    'Cu4'
    >>> read_structure(Path("cells.extxyz"), frame=2)
    Traceback (most recent call last):
    idealflow.errors.InputError: structure file cells.extxyz has 2 frames, counted from 0; there is no frame 2
    """
    if not path.exists():
        raise InputError(
            f"structure file {path} does not exist; give a path relative to the config, or an absolute one"
        )
    if not path.is_file():
        raise InputError(
            f"structure file {path} is a folder or no ordinary file; name a file that ase or pymatgen reads"
        )
    format_name = _format_of(path)
    _refuse_guessed_species(path, format_name)
    problems = []
    try:
        frames = list(iread(path, index=":"))
    except Exception as error:  # noqa: BLE001  # readers raise anything; both causes are reported below
        problems.append(f"ase: {error or type(error).__name__}")
    else:
        atoms = _picked(frames, frame, path)
        if format_name == "lammps-data":
            _refuse_foreign_masses(atoms.get_masses(), path)
        return plain(atoms)
    try:
        return _read_with_pymatgen(path)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  # as above
        problems.append(f"pymatgen: {error or type(error).__name__}")
    raise InputError(f"structure file {path} cannot be read ({'; '.join(problems)})")


def plain(atoms: Atoms) -> Atoms:
    """Copy a structure without its calculator, with all that it carries in the places where idealflow looks for it.

    Fixed atoms become ``FixAtoms`` and ``FixCartesian``; charge and spin become numbers in ``info``. Without initial moments
    the computed ones are taken as such.

    Raises
    ------
    InputError
        If a constraint, the charge or the spin can not be kept.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.singlepoint import SinglePointCalculator
    >>> chromium = bulk("Cr", cubic=True)
    >>> chromium.calc = SinglePointCalculator(chromium, energy=-18.9, magmoms=[1.0, -1.0])
    >>> copy = plain(chromium)
    >>> copy.get_initial_magnetic_moments().tolist(), copy.calc is None
    ([1.0, -1.0], True)
    """
    made = atoms.copy()
    set_fixed(made, fixed_directions(atoms))
    results = getattr(atoms.calc, "results", None) or {}
    computed = results.get("magmoms")
    if computed is not None and "initial_magmoms" not in made.arrays:
        made.set_initial_magnetic_moments(np.asarray(computed, dtype=float))
    totals = totals_of(atoms)
    for name in ("charge", "spin"):
        made.info.pop(name, None)
    made.info.update(totals)
    return made


def from_pymatgen(source: Any) -> Atoms:
    """Make ase Atoms of a pymatgen Structure or Molecule, or of the dictionary of either.

    ``magmom`` and ``selective_dynamics`` of the sites, the total charge, a molecule's multiplicity and deuterium are kept.

    Raises
    ------
    InputError
        If the source is neither, a site is not exactly one element, or only some sites have a moment.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure(Lattice.cubic(2.82), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]], charge=1)
    >>> atoms = from_pymatgen(salt)
    >>> atoms.get_chemical_formula(), atoms.info["charge"]
    ('ClNa', 1.0)
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Structure charge .* sum of oxidation states", category=UserWarning)
        return plain(_converted(source))


def _converted(source: Any) -> Atoms:
    from monty.json import MontyDecoder
    from pymatgen.core import Molecule, SiteCollection
    from pymatgen.io.ase import AseAtomsAdaptor

    if isinstance(source, dict):
        source = MontyDecoder().process_decoded(source)
    if not isinstance(source, SiteCollection):
        raise InputError(f"a structure is a file, a builder mapping, Atoms or Structure, got {type(source).__name__}")
    for number, site in enumerate(source):
        if not site.is_ordered:
            raise InputError(
                f"site {number} at {np.round(site.coords, 3).tolist()} is occupied by {site.species_string}; a site must "
                "be one whole atom: order the structure first"
            )
    masses = np.array([float(site.specie.atomic_mass) for site in source])
    bare = source.copy()
    bare.remove_oxidation_states()  # they are not the charge of the whole
    flags, moments = (bare.site_properties.get(name) for name in ("selective_dynamics", "magmom"))
    for name in [*bare.site_properties]:
        bare.remove_site_property(name)
    atoms = AseAtomsAdaptor.get_atoms(bare, msonable=False)
    natural = atoms.get_masses()
    isotope = np.abs(masses - natural) > _MASS_TOLERANCE * natural
    if isotope.any():
        atoms.set_masses(np.where(isotope, masses, natural))
    if moments is not None:
        missing = next((i for i, moment in enumerate(moments) if moment is None), None)
        if missing is not None:
            raise InputError(f"site {missing} has no `magmom`, others have; give every site a moment, or none")
        atoms.set_initial_magnetic_moments([getattr(moment, "moment", moment) for moment in moments])
    if flags is not None:  # as in a POSCAR: along the cell vectors
        mask = np.array([[False] * 3 if flag is None else [not free for free in flag] for flag in flags])
        whole = mask.all(axis=1)
        partly = np.flatnonzero(mask.any(axis=1) & ~whole)
        along = [FixScaled([row], mask[row]) for row in partly] if atoms.cell.rank == 3 else constraints_of(mask)
        atoms.set_constraint([*constraints_of(whole), *along])
    if bare.charge:
        atoms.info["charge"] = float(bare.charge)
    if isinstance(bare, Molecule) and (spin := bare.as_dict().get("spin_multiplicity")):
        atoms.info["spin"] = float(spin)
    return atoms


def _picked(frames: list[Atoms], frame: int | None, path: Path) -> Atoms:
    count = len(frames)
    if count == 0:
        raise InputError(
            f"structure file {path} holds no structure that ase could read; does its name end as its format asks?"
        )
    index = -1 if frame is None else frame
    if not -count <= index < count:
        raise InputError(f"structure file {path} has {count} frames, counted from 0; there is no frame {index}")
    if count > 1 and frame is None:
        emit(
            Progress(
                "structure",
                message=f"{path.name} has {count} frames; the last, {count - 1}, is taken (`frame` of a structure mapping "
                "chooses another)",
            )
        )
    return frames[index]


def _read_with_pymatgen(path: Path) -> Atoms:
    from pymatgen.core import Structure
    from pymatgen.io.vasp.inputs import BadPoscarWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", BadPoscarWarning)  # the reader would go on with the species H, He, Li, …
        try:
            return from_pymatgen(Structure.from_file(path))
        except BadPoscarWarning as warning:
            raise InputError(
                f"species are not in the structure file {path} ({warning}); write the symbols on the line before the counts"
            ) from None


def _format_of(path: Path) -> str | None:
    try:
        return str(filetype(str(path)))
    except (UnknownFileTypeError, OSError, UnicodeDecodeError):
        return None


def _refuse_guessed_species(path: Path, format_name: str | None) -> None:
    """Refuse files without species, which ASE's reader would guess from numbers of types or from words of a comment."""
    remedy = None
    if format_name == "lammps-dump-text":
        columns, rows = _dumped(path)
        if "element" not in columns and "mass" not in columns:
            remedy = "dump the `element` column (dump_modify … element Cu Ni)"
        elif "element" not in columns:
            _refuse_foreign_masses(np.array([float(row[columns.index("mass")]) for row in rows]), path)
    elif format_name == "lammps-dump-binary":
        remedy = "dump as text with the `element` column"
    elif format_name == "lammps-data":
        if not any(
            line.split()[:1] == ["Masses"] or line.strip().startswith("Atom Type Labels") for line in _lines(path)
        ):
            remedy = "give the file a Masses section"
    elif format_name == "vasp":
        head = [line for line, _ in zip(_lines(path), range(6), strict=False)]
        if len(head) == 6 and not _has_species(head[0], head[5].split("!")[0].split(), path):
            remedy = "write the symbols on the line before the counts (VASP 5)"
    if remedy is not None:
        raise InputError(f"species are not in the structure file {path}; {remedy}")


def _has_species(comment: str, counts: list[str], path: Path) -> bool:
    """Tell whether a POSCAR names its species: on line 6, at the beginning of its comment, or in a POTCAR or OUTCAR beside it."""
    if not counts or not counts[0].lstrip("+-").isdigit():
        return True
    symbols: list[str] = []
    for word in comment.replace("_", " ").replace("-", " ").replace(",", " ").split():
        try:
            symbols += list(Formula("".join(letter for letter in word if letter.isalpha())))
        except ValueError:
            break
        if len(symbols) >= len(counts):
            break
    if len(symbols) >= len(counts) and all(symbol in chemical_symbols for symbol in symbols):
        return True
    beside = [path.with_name(name + end) for name in ("POTCAR", "OUTCAR") for end in ("", ".gz", ".bz2")]
    return not symbols and any(other.is_file() for other in beside)


def _dumped(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the column names of a LAMMPS dump, and the rows of its first frame as words."""
    columns: list[str] = []
    rows: list[list[str]] = []
    for line in _lines(path):
        if line.startswith("ITEM:") and columns:
            break
        if line.startswith("ITEM: ATOMS"):
            columns = line.split()[2:]
        elif columns:
            rows.append(line.split())
    return columns, rows


def _refuse_foreign_masses(masses: NDArray[np.float64], path: Path) -> None:
    """Refuse masses (n_atoms,), u, from which ASE tells the species, if one of them is no element's."""
    for mass in np.unique(masses):
        if np.abs(atomic_masses - mass).min() > _MASS_TOLERANCE * mass:
            atom = int(np.argmax(masses == mass))
            raise InputError(
                f"species are not in the structure file {path}: the mass {mass:g} u of atom {atom} is no element's; dump the "
                "`element` column, or convert the file"
            )


def _lines(path: Path) -> Any:
    with open_with_compression(str(path), "r") as file:
        yield from file
