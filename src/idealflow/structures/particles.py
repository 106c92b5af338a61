"""Particles: truncated octahedra of fcc metals, and balls of any crystal in its stoichiometry."""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from ase.cluster import Octahedron
from ase.constraints import FixAtoms
from ase.data import atomic_numbers, reference_states

from idealflow.errors import InputError
from idealflow.structures.crystals import crystal as make_crystal
from idealflow.structures.given import at_least, composition, positive, three, whole

__all__ = ["particle"]

_VACUUM = 8.0  # Å beside a particle, where no box is given


def particle(
    element: str,
    *,
    shape: Literal["octahedron", "sphere"] = "sphere",
    n_atoms: int | None = None,
    length: int | None = None,
    cut: int = 0,
    crystal: str | None = None,
    a: float | None = None,
    c: float | None = None,
    stoichiometric: bool = True,
    fixed_core: float = 0.0,
    box: float | list[float] | None = None,
    vacuum: float = _VACUUM,
    seed: int = 0,
) -> Atoms:
    """Make a particle in the middle of a box.

    Parameters
    ----------
    element
        Chemical symbol, or the formula of a compound.
    shape
        ``octahedron``: an fcc octahedron with ``length`` atoms along an edge, of whose corners ``cut`` layers are cut off (7 and
        2: the truncated octahedron of 201 atoms). ``sphere``: the ``n_atoms`` atoms of the crystal that are nearest to a point.
    n_atoms
        Atoms of a sphere.
    length, cut
        Of an octahedron, see above.
    crystal, a, c
        As for :func:`~idealflow.structures.crystal`; octahedra are fcc.
    stoichiometric
        Whether a sphere has exactly the formula's composition, from the nearest atoms of each element. If not, a number of
        atoms that is no multiple of the formula's is allowed: the composition is then the nearest there is.
    fixed_core
        Atoms within this distance of the centre are held fixed, Å.
    box
        Edges of a periodic box, Å. None: no periodicity, with ``vacuum`` on all sides.
    vacuum
        Empty space beside the particle, Å, where no box is given.
    seed
        Decides which atoms of the outermost shell are taken, where several are at the same distance.

    Returns
    -------
    Atoms
        With ``FixAtoms`` where a core is fixed.

    Raises
    ------
    InputError
        For impossible values, such as a number of atoms that the formula does not divide, or a box that is too small.

    Examples
    --------
    >>> iridium = particle("Ir", shape="octahedron", length=7, cut=2, a=3.88, fixed_core=3.9, box=28.0)
    >>> len(iridium), len(iridium.constraints[0].index)
    (201, 19)
    >>> particle("Al2O3", crystal="corundum", n_atoms=820).get_chemical_formula()
    'Al328O492'
    >>> particle("Al2O3", crystal="corundum", n_atoms=481)
    Traceback (most recent call last):
    idealflow.errors.InputError: 481 atoms are no whole number of Al2O3 (5 atoms): 480 and 485 are; take one of them, or \
stoichiometric: false, which makes Al192O289
    """
    counts = composition(element)
    if shape == "octahedron":
        atoms = _octahedron(element, counts, length, cut, a, crystal)
        if n_atoms is not None and n_atoms != len(atoms):
            raise InputError(
                f"an octahedron of length {length} and cut {cut} has {len(atoms)} atoms, got n_atoms = {n_atoms}"
            )
    elif shape == "sphere":
        if n_atoms is None or length is not None or cut:
            raise InputError("a sphere needs n_atoms, and has neither length nor cut")
        wanted = _counts(element, counts, whole("n_atoms", n_atoms), stoichiometric=stoichiometric)
        atoms = _sphere(make_crystal(element, crystal, a=a, c=c), wanted, whole("seed", seed, 0))
    else:
        raise InputError(f"shape must be octahedron or sphere, got {shape!r}")
    return _in_a_box(atoms, at_least("fixed_core", fixed_core, 0), box, positive("vacuum", vacuum))


def _octahedron(
    element: str, counts: dict[str, int], length: int | None, cut: int, a: float | None, crystal: str | None
) -> Atoms:
    if sum(counts.values()) != 1 or crystal not in (None, "fcc"):
        raise InputError(f"octahedra are of one fcc element, got {element!r}, crystal {crystal!r}; take shape: sphere")
    edge, corner = whole("length", length), whole("cut", cut, 0)
    if 2 * corner + 1 > edge:
        raise InputError(f"cut must be at most (length − 1) / 2, got cut = {corner} of length {edge}")
    state = reference_states[atomic_numbers[element]] or {}
    if a is None and state.get("symmetry") != "fcc":
        raise InputError(f"{element} is not fcc by itself; give a, Å")
    lattice = state["a"] if a is None else positive("a", a)
    made = Octahedron(element, edge, corner, latticeconstant=float(lattice))
    return Atoms(made.get_chemical_symbols(), made.positions)


def _counts(element: str, counts: dict[str, int], n_atoms: int, *, stoichiometric: bool) -> dict[str, int]:
    """Atoms of each element in a sphere."""
    per = sum(counts.values())
    units, rest = divmod(n_atoms, per)
    wanted = {symbol: count * units for symbol, count in counts.items()}
    if rest:
        # the fractional parts decide which elements the atoms left over are of
        shares = {symbol: n_atoms * count / per - wanted[symbol] for symbol, count in counts.items()}
        for _ in range(rest):
            symbol = max(shares, key=lambda each: shares[each])
            wanted[symbol] += 1
            shares[symbol] -= 1.0
    if rest and stoichiometric:
        below = f"{units * per} and " if units else ""
        name = "".join(f"{symbol}{count}" for symbol, count in wanted.items())
        raise InputError(
            f"{n_atoms} atoms are no whole number of {element} ({per} atoms): {below}{(units + 1) * per} are; take one of them, "
            f"or stoichiometric: false, which makes {name}"
        )
    return wanted


def _sphere(cell: Atoms, wanted: dict[str, int], seed: int) -> Atoms:
    """The wanted numbers of atoms of each element that are nearest to the middle of a crystal's cell."""
    n_atoms = sum(wanted.values())
    volume = cell.get_volume() / len(cell)
    # shells of single elements reach further than the ball that all atoms fill
    radius = 1.2 * (3.0 * volume * n_atoms / (4.0 * np.pi)) ** (1.0 / 3.0) + 2.0 * volume ** (1.0 / 3.0)
    heights = 1.0 / np.linalg.norm(cell.cell.reciprocal(), axis=1)
    reach = np.ceil(radius / heights).astype(int) + 1
    shifts = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), axis=-1).reshape(-1, 3)
    middle = cell.cell.array.sum(axis=0) / 2.0
    vectors = (cell.positions[None] + (shifts @ cell.cell.array)[:, None] - middle).reshape(-1, 3)
    numbers = np.tile(cell.numbers, len(shifts))
    distances = np.linalg.norm(vectors, axis=1)
    drawn = np.random.default_rng(seed).random(len(vectors))
    chosen = []
    for symbol, count in wanted.items():
        rows = np.flatnonzero(numbers == atomic_numbers[symbol])
        order = rows[np.lexsort((drawn[rows], np.round(distances[rows], 6)))]
        chosen.append(order[:count])
    picked = np.concatenate(chosen)
    picked = picked[np.argsort(distances[picked], kind="stable")]
    return Atoms(numbers[picked], vectors[picked])


def _in_a_box(atoms: Atoms, core: float, box: float | list[float] | None, vacuum: float) -> Atoms:
    centre = atoms.positions.mean(axis=0)
    fixed = np.linalg.norm(atoms.positions - centre, axis=1) <= core if core > 0 else np.zeros(len(atoms), dtype=bool)
    low, high = atoms.positions.min(axis=0), atoms.positions.max(axis=0)
    if box is None:
        edges = high - low + 2.0 * vacuum
    else:
        edges = np.array(three("box", box))
        if (edges <= high - low).any():
            size = " × ".join(f"{each:.1f}" for each in high - low)
            raise InputError(f"box = {box} Å is too small for a particle of {size} Å; enlarge it")
    atoms.set_cell(np.diag(edges))
    atoms.positions += edges / 2.0 - (low + high) / 2.0
    atoms.pbc = box is not None
    if fixed.any():
        atoms.set_constraint(FixAtoms(mask=fixed))
    return atoms
