"""Crystals beyond those that ASE builds by name, and slabs cut from any crystal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, surface
from ase.constraints import FixAtoms
from ase.spacegroup import crystal as of_spacegroup

from idealflow.errors import InputError
from idealflow.structures.given import at_least, composition, positive, whole

__all__ = ["PROTOTYPES", "crystal", "slab"]

#: corundum: fractional z of the cations (12c) and x of the oxygen atoms (18e) of Al2O3, and its lattice constants, Å
_CORUNDUM = {"z": 0.3522, "x": 0.3063, "a": 4.759, "c": 12.991}
#: 9R: nine close-packed layers; nearest distance in a layer of lithium, Å
_LITHIUM_A = 3.0

#: prototypes that are built here; all others are ASE's
PROTOTYPES = ("9R", "corundum", "L1_0", "L1_2")


def crystal(
    element: str,
    crystal: str | None = None,
    *,
    a: float | None = None,
    c: float | None = None,
    cubic: bool = False,
    repeat: int | Sequence[int] = 1,
) -> Atoms:
    """Make a crystal.

    Parameters
    ----------
    element
        Chemical symbol, or the formula of a compound.
    crystal
        ``9R`` (hexagonal R-3m, nine close-packed layers ABCBCACAB: martensite of lithium and sodium), ``corundum`` (hexagonal
        R-3c, formula X2Y3), ``L1_0`` (formula XY, layers along z) and ``L1_2`` (X3Y, with Y on the corners) on the four sites of
        the cubic cell of fcc, or a name that :func:`ase.build.bulk` knows. None: the element's own at room temperature.
    a, c
        Lattice constants, Å. Default: ASE's; of 9R that of lithium with ideal close packing, of corundum those of alumina.
        ``L1_0`` and ``L1_2`` have none for a; c of ``L1_0`` is a.
    cubic
        Make a cubic cell, where ASE has one.
    repeat
        How often the cell is repeated, once for all vectors or for each.

    Raises
    ------
    InputError
        For an unknown element or crystal, or a lattice constant that is missing or impossible.

    Examples
    --------
    >>> lithium = crystal("Li", "9R", a=2.985, c=22.11, repeat=[7, 8, 1])
    >>> len(lithium), [round(angle) for angle in lithium.cell.angles()]
    (504, [90, 90, 120])
    >>> crystal("Al2O3", "corundum").get_chemical_formula()
    'Al12O18'
    """
    counts = composition(element)
    for name, value in (("a", a), ("c", c)):
        if value is not None:
            positive(name, value)
    if crystal == "9R":
        atoms = _nine_layers(element, counts, a, c)
    elif crystal == "corundum":
        atoms = _corundum(counts, a, c)
    elif crystal in ("L1_0", "L1_2"):
        atoms = _ordered(crystal, element, counts, a, c)
    else:
        optional = {name: value for name, value in (("a", a), ("c", c)) if value is not None}
        try:
            atoms = bulk(element, crystal, cubic=cubic, **optional)
        except Exception as error:  # the builder may raise anything; the cause is passed on
            given = ", ".join(f"{name} = {value:g}" for name, value in optional.items())
            raise InputError(
                f"cannot build {element} as {crystal or 'its own crystal'}{f' with {given}' if given else ''}: "
                f"{error or type(error).__name__}; give crystal (ASE's names, {' or '.join(PROTOTYPES)}) and a"
            ) from error
    atoms.set_initial_magnetic_moments(None)  # ASE sets a guess for Fe, Co and Ni that nobody asked for
    return atoms.repeat(_repeats(repeat))


def slab(
    element: str,
    crystal: str | None = None,
    *,
    miller: Sequence[int] = (1, 1, 1),
    layers: int = 4,
    repeat: Sequence[int] = (1, 1),
    vacuum: float = 10.0,
    fixed_layers: int = 0,
    a: float | None = None,
    c: float | None = None,
) -> Atoms:
    """Cut a flat slab from a crystal: periodic in two directions, open above and below.

    Parameters
    ----------
    element, crystal, a, c
        As for :func:`crystal`.
    miller
        Indices of the surface, of the conventional cell.
    layers
        Thickness in units of the lattice along the surface's normal, as :func:`ase.build.surface` counts them.
    repeat
        Cells along the two periodic directions; those of an fcc (111) surface have four atoms in each plane.
    vacuum
        Empty space below and above, Å.
    fixed_layers
        Planes of atoms at the bottom that are held fixed.

    Raises
    ------
    InputError
        For impossible values.

    Examples
    --------
    >>> iridium = slab("Ir", a=3.88, layers=4, repeat=[2, 2], fixed_layers=2)
    >>> len(iridium), iridium.pbc.tolist(), len(iridium.constraints[0].index)
    (64, [True, True, False], 32)
    """
    indices = [whole("miller", abs(each), 0) for each in miller] if len(miller) == 3 else []
    if not any(indices):
        raise InputError(f"miller must be three whole numbers, not all 0, got {list(miller)}")
    if len(repeat) != 2:
        raise InputError(f"repeat of a slab must be two whole numbers, got {list(repeat)}")
    cells = [whole("repeat", each) for each in repeat]
    conventional = _conventional(element, crystal, a, c)
    atoms = surface(
        conventional, tuple(int(each) for each in miller), whole("layers", layers), vacuum=at_least("vacuum", vacuum, 0)
    )
    atoms = atoms.repeat((*cells, 1))
    atoms.pbc = (True, True, False)
    planes = _planes(atoms)
    n_fixed, n_planes = whole("fixed_layers", fixed_layers, 0), int(planes.max()) + 1
    if n_fixed >= n_planes:
        raise InputError(f"fixed_layers must be below the slab's {n_planes} planes of atoms, got {n_fixed}")
    if n_fixed:
        atoms.set_constraint(FixAtoms(mask=planes < n_fixed))
    return atoms


def _nine_layers(element: str, counts: dict[str, int], a: float | None, c: float | None) -> Atoms:
    if len(counts) != 1 or sum(counts.values()) != 1:
        raise InputError(f"crystal 9R is of one element, got {element!r}")
    width = _LITHIUM_A if a is None else a
    height = 9.0 * width * np.sqrt(2.0 / 3.0) if c is None else c
    return of_spacegroup(
        [element] * 2,
        [(0.0, 0.0, 0.0), (0.0, 0.0, 2.0 / 9.0)],
        spacegroup=166,
        cellpar=[width, width, height, 90, 90, 120],
        pbc=True,
    )


def _corundum(counts: dict[str, int], a: float | None, c: float | None) -> Atoms:
    ratio = dict(zip(counts.values(), counts, strict=True))
    if set(ratio) != {2, 3}:
        raise InputError(f"crystal corundum is of a formula X2Y3 such as Al2O3, got {counts}")
    width, height = _CORUNDUM["a"] if a is None else a, _CORUNDUM["c"] if c is None else c
    return of_spacegroup(
        [ratio[2], ratio[3]],
        [(0.0, 0.0, _CORUNDUM["z"]), (_CORUNDUM["x"], 0.0, 0.25)],
        spacegroup=167,
        cellpar=[width, width, height, 90, 90, 120],
        pbc=True,
    )


def _ordered(kind: str, element: str, counts: dict[str, int], a: float | None, c: float | None) -> Atoms:
    """Two elements on the four sites of the cubic cell of fcc."""
    ratio, formula = ([1, 1], "XY") if kind == "L1_0" else ([1, 3], "X3Y")
    if sorted(counts.values()) != ratio:
        raise InputError(f"crystal {kind} is of a formula {formula} of two elements, got {element!r}")
    if a is None or (kind == "L1_2" and c is not None):
        raise InputError(
            f"crystal {kind} needs a, the edge of its cell in Å{'; it is cubic and has no c' if a else ''}"
        )
    few, many = sorted(counts, key=lambda symbol: counts[symbol])
    symbols = [few, few, many, many] if kind == "L1_0" else [few, many, many, many]
    sites = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]])
    return Atoms(symbols, scaled_positions=sites, cell=[a, a, a if c is None else c], pbc=True)


def _conventional(element: str, kind: str | None, a: float | None, c: float | None) -> Atoms:
    """The conventional cell, to which Miller indices refer."""
    try:
        return crystal(element, kind, a=a, c=c, cubic=kind not in PROTOTYPES)
    except InputError:
        return crystal(element, kind, a=a, c=c)  # crystals that are not cubic


def _planes(atoms: Atoms) -> Any:
    """Number of the plane of each atom, from the bottom; atoms within 0.1 Å lie in one."""
    order = np.argsort(atoms.positions[:, 2], kind="stable")
    steps = np.diff(atoms.positions[order, 2], prepend=atoms.positions[order[0], 2]) > 0.1
    planes = np.empty(len(atoms), dtype=int)
    planes[order] = np.cumsum(steps)
    return planes


def _repeats(value: Any) -> list[int]:
    counts = value if isinstance(value, (list, tuple)) else [value] * 3
    if len(counts) != 3:
        raise InputError(f"repeat must be a whole number or three, got {value!r}")
    return [whole("repeat", count) for count in counts]
