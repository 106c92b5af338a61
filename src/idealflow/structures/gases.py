"""A gas around a particle or above a slab, and atoms adsorbed on its hollow sites."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.data import atomic_numbers, covalent_radii
from ase.geometry import find_mic
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from idealflow.core.descriptors.neighbours import neighbour_pairs
from idealflow.core.fixed_atoms import fixed_directions, set_fixed
from idealflow.errors import InputError
from idealflow.structures.given import composition, positive, whole

__all__ = ["gas_around", "hollow_sites"]

_TRIES = 5000  # places that are tried for a molecule


def gas_around(
    atoms: Atoms,
    molecules: Mapping[str, int] | None = None,
    *,
    adsorbed: Mapping[str, int] | None = None,
    distance: float = 2.3,
    spacing: float = 2.5,
    seed: int = 0,
) -> Atoms:
    """Put atoms on hollow sites of a body and molecules into the empty space of its box, at random.

    Parameters
    ----------
    atoms
        Particle or slab in a cell with a volume. Its own atoms come first and stay as they are, with their constraints.
    molecules
        How many molecules of each kind; names that :func:`ase.build.molecule` knows (``N2``, ``H2``, ``NH3``), or a chemical
        symbol for single atoms.
    adsorbed
        How many atoms of each element on hollow sites of three neighbouring atoms, at bond length (the sum of covalent radii).
    distance
        Smallest distance of a molecule's atoms to all atoms that are not its own, Å.
    spacing
        Smallest distance of two adsorbed atoms, Å.
    seed
        Of places and directions.

    Raises
    ------
    InputError
        If there are not enough sites or there is not enough room, which is said with what could be placed.

    Examples
    --------
    >>> from idealflow.structures import particle
    >>> iridium = particle("Ir", shape="octahedron", length=7, cut=2, a=3.88, fixed_core=3.9, box=28.0)
    >>> frame = gas_around(iridium, {"N2": 40, "H2": 60}, adsorbed={"N": 20})
    >>> len(frame), frame.get_chemical_formula()
    (421, 'H120Ir201N100')
    """
    if atoms.cell.rank < 3:
        raise InputError("gas_around needs a cell with a volume; give the particle a box, or the slab vacuum")
    least, apart = positive("distance", distance), positive("spacing", spacing)
    rng = np.random.default_rng(whole("seed", seed, 0))
    found = atoms.copy()
    fixed = fixed_directions(found)
    found.set_constraint()
    for symbol, number in (adsorbed or {}).items():
        found = _adsorb(found, len(atoms), symbol, whole(f"adsorbed.{symbol}", number, 0), apart, rng)
    for name, number in (molecules or {}).items():
        found = _fill(found, _molecule(name), whole(f"molecules.{name}", number, 0), name, least, rng)
    set_fixed(found, np.concatenate([fixed, np.zeros((len(found) - len(atoms), 3), dtype=bool)]))
    return found


def hollow_sites(atoms: Atoms, symbol: str) -> NDArray[np.float64]:
    """Places at bond length from three atoms that are each other's neighbours, with no other atom within a bond length.

    Parameters
    ----------
    atoms
        The body.
    symbol
        Element that is to be adsorbed: its covalent radius gives the bond length.

    Returns
    -------
    (n, 3) float, Å
        Sites, in the order of the atoms.

    Examples
    --------
    Two sites for each atom of a closely packed surface:

    >>> from idealflow.structures import slab
    >>> iridium = slab("Ir", a=3.88, layers=2, repeat=[2, 2])
    >>> len(iridium), len(hollow_sites(iridium, "N"))  # above and below
    (32, 64)
    """
    radii = covalent_radii[atoms.numbers]
    nearest = _nearest(atoms)
    offsets, j, _, vectors = neighbour_pairs(
        atoms.positions, np.asarray(atoms.cell), atoms.pbc, 1.2 * float(nearest.max())
    )
    sites = []
    for i in range(len(atoms)):
        rows = np.arange(offsets[i], offsets[i + 1])
        rows = rows[(np.linalg.norm(vectors[rows], axis=1) < 1.2 * nearest[i])]
        for first in range(len(rows)):
            for second in range(first):
                legs = vectors[rows[first]], vectors[rows[second]]
                if min(j[rows[first]], j[rows[second]]) < i or np.linalg.norm(legs[0] - legs[1]) > 1.2 * nearest[i]:
                    continue
                bonds = covalent_radii[atomic_numbers[symbol]] + radii[[i, j[rows[first]], j[rows[second]]]]
                sites += [atoms.positions[i] + site for site in _above(legs, bonds)]
    if not sites:
        return np.empty((0, 3))
    return _distinct(_free(np.array(sites), atoms, covalent_radii[atomic_numbers[symbol]] + radii), atoms)


def _free(places: NDArray[np.float64], atoms: Atoms, bonds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out places at which an atom is nearer than its bond length (n_atoms,), Å: those inside, and below a second layer."""
    both = np.concatenate([atoms.positions, places])
    centres = np.arange(len(atoms), len(both))
    offsets, j, _, vectors = neighbour_pairs(both, np.asarray(atoms.cell), atoms.pbc, float(bonds.max()), centres)
    of_the_body = j < len(atoms)
    near = of_the_body & (np.linalg.norm(vectors, axis=1) < 0.95 * bonds[np.where(of_the_body, j, 0)])
    return places[[not near[start:end].any() for start, end in pairwise(offsets)]]


def _above(legs: tuple[NDArray[np.float64], NDArray[np.float64]], bonds: NDArray[np.float64]) -> list[Any]:
    """The two points at given distances from the origin and the ends of two vectors; none if they do not reach."""
    u, v = legs
    normal = np.cross(u, v)
    rights = np.array([(bonds[0] ** 2 - bonds[1] ** 2 + u @ u) / 2, (bonds[0] ** 2 - bonds[2] ** 2 + v @ v) / 2])
    foot = np.linalg.lstsq(np.array([u, v]), rights, rcond=None)[0]
    height = bonds[0] ** 2 - foot @ foot
    if height <= 0:
        return []
    up = normal / np.linalg.norm(normal) * np.sqrt(height)
    return [foot + up, foot - up]


def _nearest(atoms: Atoms) -> NDArray[np.float64]:
    """Distance of each atom to its nearest neighbour, (n,), Å."""
    reach = 2.0 * float(covalent_radii[atoms.numbers].max()) * 1.5
    offsets, _, _, vectors = neighbour_pairs(atoms.positions, np.asarray(atoms.cell), atoms.pbc, reach)
    lengths = np.linalg.norm(vectors, axis=1)
    return np.array([lengths[a:b].min(initial=reach) for a, b in pairwise(offsets)])


def _lengths(vectors: NDArray[np.float64], atoms: Atoms) -> NDArray[np.float64]:
    """Lengths of vectors to their nearest periodic images, (n,), Å."""
    cell = atoms.cell.array
    if np.count_nonzero(cell - np.diag(np.diag(cell))):
        return np.asarray(find_mic(vectors, atoms.cell, atoms.pbc)[1])
    edges = np.diag(cell)  # an upright box needs no search
    return np.asarray(np.linalg.norm(vectors - np.where(atoms.pbc, edges * np.rint(vectors / edges), 0.0), axis=1))


def _distinct(places: NDArray[np.float64], atoms: Atoms) -> NDArray[np.float64]:
    """Leave out places that equal an earlier one, periodic images included."""
    offsets, j, _, _ = neighbour_pairs(places, np.asarray(atoms.cell), atoms.pbc, 0.1)
    return places[[not (j[start:end] < i).any() for i, (start, end) in enumerate(pairwise(offsets))]]


def _adsorb(atoms: Atoms, n_body: int, symbol: str, count: int, spacing: float, rng: np.random.Generator) -> Atoms:
    if sum(composition(symbol, "adsorbed").values()) != 1:
        raise InputError(f"adsorbed are single atoms, got {symbol!r}; molecules go to `molecules`")
    sites = hollow_sites(atoms[:n_body], symbol)
    rng.shuffle(sites)
    placed = 0
    for site in sites:
        if placed == count:
            break
        if len(atoms) == n_body or _lengths(atoms.positions[n_body:] - site, atoms).min() >= spacing:
            atoms += Atoms(symbol, [site])
            placed += 1
    if placed < count:
        raise InputError(
            f"{count} {symbol} do not fit on the {len(sites)} hollow sites at {spacing:g} Å from each other, {placed} do; lower "
            "their number or spacing"
        )
    return atoms


def _molecule(name: str) -> Atoms:
    try:
        made = molecule(name)
    except (KeyError, NotImplementedError):
        counts = composition(name, "molecules")
        if sum(counts.values()) != 1:
            raise InputError(
                f"there is no molecule {name!r}; give a name that ase.build.molecule knows, or an element"
            ) from None
        made = Atoms(name)
    made.set_initial_magnetic_moments(None)
    made.positions -= made.positions.mean(axis=0)
    return Atoms(made.numbers, made.positions)


def _fill(atoms: Atoms, one: Atoms, count: int, name: str, least: float, rng: np.random.Generator) -> Atoms:
    """Place molecules one after another where they have room."""
    positions, numbers = [atoms.positions], [atoms.numbers]
    for placed in range(count):
        here = np.concatenate(positions)
        for _ in range(_TRIES):
            turned = one.positions @ Rotation.random(random_state=rng).as_matrix().T
            put = turned + rng.random(3) @ atoms.cell.array
            inside = np.linalg.solve(atoms.cell.array.T, put.T).T
            if ((inside < 0) | (inside > 1))[:, ~atoms.pbc].any():
                continue  # along open directions molecules stay in the box
            gaps = _lengths((here[None] - put[:, None]).reshape(-1, 3), atoms)
            if gaps.min(initial=np.inf) >= least:  # the first molecule of an empty box has no neighbour
                positions.append(put)
                numbers.append(one.numbers)
                break
        else:
            raise InputError(
                f"{placed} of {count} {name} found room at {least:g} Å from all other atoms, in {_TRIES} tries each; lower their "
                "number or distance, or enlarge the box"
            )
    return Atoms(np.concatenate(numbers), np.concatenate(positions), cell=atoms.cell, pbc=atoms.pbc)
