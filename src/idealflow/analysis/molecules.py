"""Molecules along a trajectory: what bonds make, where it lasts.

An atom that is handed over from one molecule to another belongs to both while the old bond is not yet broken, and what two bonds
make that overlap for a moment is no molecule. So molecules, as bonds, count when they have lasted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from idealflow.analysis.bonds import Pair, check_indices, check_persistence, elements_in
from idealflow.errors import InputError

__all__ = ["Molecule", "changed_groups", "formula", "molecules_along", "molecules_of"]


@dataclass(frozen=True, order=True)
class Molecule:
    """Atoms that are bound together, and what they are called.

    Attributes
    ----------
    atoms
        Their indices, in order.
    name
        Their formula in Hill's order.

    Examples
    --------
    >>> Molecule((3, 4), "H2").name
    'H2'
    """

    atoms: tuple[int, ...]
    name: str


def molecules_of(symbols: Sequence[str], bonds: Iterable[Pair], without: Iterable[str] = ()) -> list[tuple[int, ...]]:
    """Molecules that bonds make: the indices of the atoms of each, in order.

    Parameters
    ----------
    symbols
        Chemical symbols of the atoms.
    bonds
        Pairs of indices.
    without
        Elements that are not part of molecules, as the metal that they lie on.

    Examples
    --------
    >>> molecules_of(["H", "H", "N", "Ir"], [(0, 1), (2, 3)], without=["Ir"])
    [(0, 1), (2,)]
    """
    from idealflow.core.cropping.parts import connected_parts  # with numba, which takes a second to import

    left_out = elements_in(without)
    stays = [symbol not in left_out for symbol in symbols]
    joined = np.array([pair for pair in bonds if stays[pair[0]] and stays[pair[1]]], dtype=np.int64).reshape(-1, 2)
    groups: dict[int, list[int]] = {}
    for i, part in enumerate(connected_parts(len(symbols), joined[:, 0], joined[:, 1]).tolist()):
        if stays[i]:
            groups.setdefault(part, []).append(i)
    return sorted(tuple(group) for group in groups.values())


def formula(symbols: Sequence[str], molecule: Iterable[int]) -> str:
    """Formula of a molecule in Hill's order.

    Examples
    --------
    >>> formula(["N", "H", "H"], [0, 1, 2])
    'H2N'
    """
    return str(Atoms([symbols[i] for i in molecule]).get_chemical_formula("hill"))


def molecules_along(
    symbols: Sequence[str],
    bonds: Sequence[frozenset[Pair]],
    without: Iterable[str] = (),
    persistence: int = 1,
) -> list[tuple[Molecule, ...]]:
    """Molecules of every frame of a trajectory, without those that do not last.

    Molecules become others in the first frame in which all of the others are there, each of them in a stretch of at least
    ``persistence`` frames; until then they are what they were. So every frame has each atom in one molecule, and an encounter
    leaves no trace. Molecules of the first frame count, however long they last. Those that become one another wait for each
    other, and where one is always in change, all wait: the persistence must be short against the time between reactions.

    Parameters
    ----------
    symbols
        Chemical symbols of the atoms.
    bonds
        From :func:`bonds_along`.
    without
        As for :func:`molecules_of`. A bond to such an element is no reaction by itself.
    persistence
        Frames that a molecule has to last.

    Returns
    -------
    list
        For each frame its molecules, sorted.

    Raises
    ------
    InputError
        If a persistence is not a positive number, a bond names an atom that is not there, or an element is none.

    Examples
    --------
    A hydrogen changes its partner. For a frame all three are bound, which is no molecule that lasts:

    >>> bonds = [frozenset(pairs) for pairs in ([(0, 1)], [(0, 1), (1, 2)], [(1, 2)], [(1, 2)])]
    >>> [[one.name for one in frame] for frame in molecules_along(["H", "H", "N"], bonds)]
    [['H2', 'N'], ['H2N'], ['H', 'HN'], ['H', 'HN']]
    >>> [[one.name for one in frame] for frame in molecules_along(["H", "H", "N"], bonds, persistence=2)]
    [['H2', 'N'], ['H2', 'N'], ['H', 'HN'], ['H', 'HN']]
    """
    check_persistence(persistence)
    check_indices(symbols, bonds)
    raw = _unfiltered(symbols, bonds, elements_in(without))
    stretches = _stretches(raw, persistence)
    found = raw[:1]
    for number in range(1, len(raw)):
        now, before = raw[number], found[-1]
        gone: set[Molecule] = set()
        made: set[Molecule] = set()
        for old, new in changed_groups(before, now) if now is not raw[number - 1] else ():
            if all(_is_within(stretches[one], number) for one in new):
                gone.update(old)
                made.update(new)
        found.append(tuple(sorted((set(before) - gone) | made)) if made else before)
    return found


def changed_groups(
    before: Sequence[Molecule], after: Sequence[Molecule]
) -> list[tuple[list[Molecule], list[Molecule]]]:
    """Groups of molecules that are gone and those that their atoms make now, the smallest groups that keep all atoms.

    Raises
    ------
    InputError
        If they are not of the same atoms.

    Examples
    --------
    >>> before = [Molecule((0, 1), "H2"), Molecule((2,), "N"), Molecule((3,), "H")]
    >>> after = [Molecule((0,), "H"), Molecule((1, 2), "HN"), Molecule((3,), "H")]
    >>> [([one.name for one in gone], [one.name for one in made]) for gone, made in changed_groups(before, after)]
    [(['H2', 'N'], ['H', 'HN'])]
    """
    gone, made = sorted(set(before) - set(after)), sorted(set(after) - set(before))
    into = {atom: place for place, one in enumerate(made) for atom in one.atoms}
    if into.keys() != {atom for one in gone for atom in one.atoms}:
        raise InputError("molecules of a frame are not of the atoms of the frame before; give those of one trajectory")
    groups: list[tuple[set[int], list[Molecule]]] = []  # places of what is made, and what is gone
    for one in gone:
        places, olds = {into[atom] for atom in one.atoms}, [one]
        apart = []
        for group in groups:
            if places.isdisjoint(group[0]):
                apart.append(group)
            else:
                places, olds = places | group[0], group[1] + olds
        groups = [*apart, (places, olds)]
    found = [(sorted(olds), [made[place] for place in sorted(places)]) for places, olds in groups]
    return sorted(found)


def _unfiltered(
    symbols: Sequence[str], bonds: Sequence[frozenset[Pair]], without: frozenset[str]
) -> list[tuple[Molecule, ...]]:
    """Molecules of every frame as its bonds make them; one object where the frame before has the same."""
    found: list[tuple[Molecule, ...]] = []
    for number, pairs in enumerate(bonds):
        if number and pairs == bonds[number - 1]:
            found.append(found[-1])
            continue
        now = tuple(Molecule(atoms, formula(symbols, atoms)) for atoms in molecules_of(symbols, pairs, without))
        found.append(found[-1] if found and found[-1] == now else now)
    return found


def _stretches(raw: Sequence[tuple[Molecule, ...]], persistence: int) -> dict[Molecule, list[tuple[int, int]]]:
    """For each molecule its first frame and the one after its last, as often as it is there for so many frames or more."""
    since: dict[Molecule, int] = {}
    found: dict[Molecule, list[tuple[int, int]]] = {}
    for number, now in enumerate((*raw, ())):
        if number and now is raw[number - 1]:
            continue
        present = frozenset(now)
        for one in [one for one in since if one not in present]:
            start = since.pop(one)
            if number - start >= persistence:
                found[one].append((start, number))
        for one in now:
            since.setdefault(one, number)
            found.setdefault(one, [])
    return found


def _is_within(stretches: Sequence[tuple[int, int]], number: int) -> bool:
    place = bisect_right(stretches, number, key=lambda stretch: stretch[0])
    return place > 0 and number < stretches[place - 1][1]
