"""Bonds that form and break along a trajectory, the molecules they make, and the events in which these change.

A distance that swings about a cutoff would make and break a bond at every swing. So a bond forms below one distance and breaks
above a longer one (hysteresis), and a change counts when it has lasted for so many frames (persistence). The frame of an event
is the first of those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from idealflow.errors import InputError

__all__ = ["BondRule", "ReactionEvent", "bonds_along", "molecules_of", "reaction_events"]

Pair = tuple[int, int]


@dataclass(frozen=True)
class BondRule:
    """When atoms of two elements are bonded.

    Attributes
    ----------
    form, break_
        Distance below which a bond forms, and above which one breaks, Å.

    Raises
    ------
    InputError
        If they are not positive, or a bond would break where it forms.

    Examples
    --------
    >>> BondRule(0.9, 1.2)
    BondRule(form=0.9, break_=1.2)
    >>> BondRule(1.2, 0.9)
    Traceback (most recent call last):
    idealflow.errors.InputError: a bond must break at a longer distance than it forms, got 0.9 and 1.2 Å
    """

    form: float
    break_: float

    def __post_init__(self) -> None:
        if not (np.isfinite([self.form, self.break_]).all() and self.form > 0.0):
            raise InputError(f"distances of a bond must be positive and finite, got {self.form} and {self.break_} Å")
        if self.break_ < self.form:
            raise InputError(
                f"a bond must break at a longer distance than it forms, got {self.break_} and {self.form} Å"
            )


@dataclass(frozen=True)
class ReactionEvent:
    """Molecules that became others between two frames.

    Attributes
    ----------
    frame
        Number of the first frame that has the products.
    atoms
        Indices of all atoms of the molecules.
    reactants, products
        Formulas in Hill's order, sorted.

    Examples
    --------
    >>> str(ReactionEvent(4, (0, 1), ("H2",), ("H", "H")))
    'frame 4: H2 → H + H (atoms 0, 1)'
    """

    frame: int
    atoms: tuple[int, ...]
    reactants: tuple[str, ...]
    products: tuple[str, ...]

    def __str__(self) -> str:
        atoms = ", ".join(map(str, self.atoms))
        return f"frame {self.frame}: {' + '.join(self.reactants)} → {' + '.join(self.products)} (atoms {atoms})"


def bonds_along(
    frames: Iterable[Atoms], rules: Mapping[tuple[str, str], BondRule], persistence: int = 1
) -> list[frozenset[Pair]]:
    """Bonds of every frame of a trajectory.

    Parameters
    ----------
    frames
        Frames of the same atoms; periodic images count where the frame is periodic.
    rules
        When atoms are bonded, by pair of symbols in any order; pairs that are not named never are.
    persistence
        Frames that a change has to last. A shorter one, also at the end of the trajectory, did not happen.

    Returns
    -------
    list
        For each frame the bonded pairs (i, j), i < j.

    Raises
    ------
    InputError
        If there are no rules, a symbol is no element, a persistence is not a positive number, or atoms change between frames.

    Examples
    --------
    Two atoms move apart and come back. Between 0.9 and 1.2 Å they stay what they were:

    >>> frames = [Atoms("H2", [[0, 0, 0], [0, 0, d]]) for d in (0.8, 1.1, 1.3, 1.1, 0.8)]
    >>> [len(bonds) for bonds in bonds_along(frames, {("H", "H"): BondRule(0.9, 1.2)})]
    [1, 1, 0, 0, 1]
    >>> [len(bonds) for bonds in bonds_along(frames, {("H", "H"): BondRule(0.9, 1.2)}, persistence=3)]
    [1, 1, 1, 1, 1]
    """
    if not (isinstance(persistence, int) and persistence >= 1):
        raise InputError(f"`persistence` must be a number of frames from 1 on, got {persistence!r}")
    by_numbers = _by_numbers(rules)
    reach = max(rule.break_ for rule in by_numbers.values())
    numbers: NDArray[np.int64] | None = None
    raw: list[frozenset[Pair]] = []
    for frame in frames:
        if numbers is None:
            numbers = frame.numbers.copy()
        if not np.array_equal(numbers, frame.numbers):
            raise InputError(f"frame {len(raw)} has other atoms than the first; give frames of one trajectory")
        kept = raw[-1] if raw else frozenset()
        raw.append(_bonds(frame, by_numbers, reach, kept))
    return _persistent(raw, persistence)


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

    left_out = set(without)
    stays = [symbol not in left_out for symbol in symbols]
    joined = np.array([pair for pair in bonds if stays[pair[0]] and stays[pair[1]]], dtype=np.int64).reshape(-1, 2)
    groups: dict[int, list[int]] = {}
    for i, part in enumerate(connected_parts(len(symbols), joined[:, 0], joined[:, 1]).tolist()):
        if stays[i]:
            groups.setdefault(part, []).append(i)
    return sorted(tuple(group) for group in groups.values())


def reaction_events(
    symbols: Sequence[str], bonds: Sequence[frozenset[Pair]], without: Iterable[str] = ()
) -> list[ReactionEvent]:
    """Events in which molecules change along a trajectory, in order.

    Molecules that share atoms before and after belong to one event: a hydrogen that goes from one molecule to another makes
    one event of both.

    Parameters
    ----------
    symbols
        Chemical symbols of the atoms.
    bonds
        From :func:`bonds_along`.
    without
        As for :func:`molecules_of`. A bond to such an element is no reaction by itself.

    Examples
    --------
    >>> bonds = [frozenset({(0, 1)}), frozenset({(0, 1)}), frozenset({(1, 2)})]
    >>> [str(event) for event in reaction_events(["H", "H", "N"], bonds)]
    ['frame 2: H2 + N → H + HN (atoms 0, 1, 2)']
    """
    events: list[ReactionEvent] = []
    before: list[tuple[int, ...]] | None = None
    for number, now in enumerate(bonds):
        after = molecules_of(symbols, now, without)
        if before is not None and after != before:
            events.extend(_changes(number, symbols, before, after))
        before = after
    return events


def _changes(
    number: int, symbols: Sequence[str], before: Sequence[tuple[int, ...]], after: Sequence[tuple[int, ...]]
) -> list[ReactionEvent]:
    gone, made = [sorted(set(one) - set(two)) for one, two in ((before, after), (after, before))]
    chains = [(i, j) for molecule in (*gone, *made) for i, j in pairwise(molecule)]
    changed = {atom for molecule in gone for atom in molecule}
    events = []
    for group in molecules_of(symbols, chains):
        if group[0] in changed:
            members = set(group)
            sides = [
                tuple(sorted(formula(symbols, molecule) for molecule in side if members.issuperset(molecule)))
                for side in (gone, made)
            ]
            events.append(ReactionEvent(number, group, *sides))
    return events


def formula(symbols: Sequence[str], molecule: Iterable[int]) -> str:
    """Formula of a molecule in Hill's order.

    Examples
    --------
    >>> formula(["N", "H", "H"], [0, 1, 2])
    'H2N'
    """
    return str(Atoms([symbols[i] for i in molecule]).get_chemical_formula("hill"))


def _by_numbers(rules: Mapping[tuple[str, str], BondRule]) -> dict[Pair, BondRule]:
    if not rules:
        raise InputError("no rule says when atoms are bonded; give some, {('N', 'H'): BondRule(1.3, 1.6)}")
    found: dict[Pair, BondRule] = {}
    for pair, rule in rules.items():
        unknown = [symbol for symbol in pair if symbol not in atomic_numbers]
        if unknown:
            raise InputError(f"unknown element {unknown[0]!r} in the rules of bonds; use chemical symbols")
        a, b = sorted(atomic_numbers[symbol] for symbol in pair)
        if found.setdefault((a, b), rule) != rule:
            raise InputError(f"two different rules for bonds of {pair[0]} and {pair[1]}; give one")
    return found


def _bonds(frame: Atoms, rules: Mapping[Pair, BondRule], reach: float, before: frozenset[Pair]) -> frozenset[Pair]:
    """Pairs below the distance of forming, and of those that were bonded the ones below that of breaking."""
    from idealflow.core.descriptors.neighbours import neighbour_pairs  # with numba, which takes a second to import

    pairs = neighbour_pairs(frame.positions, frame.cell.array, frame.pbc, reach)
    i = np.repeat(np.arange(len(frame)), np.diff(pairs.offsets))
    once = i < pairs.j
    i, j, length = i[once], pairs.j[once], np.linalg.norm(pairs.vec[once], axis=1)
    low = np.minimum(frame.numbers[i], frame.numbers[j])
    high = np.maximum(frame.numbers[i], frame.numbers[j])
    bonded: set[Pair] = set()
    for (a, b), rule in rules.items():
        mine = (low == a) & (high == b)
        for one, two, distance in zip(i[mine].tolist(), j[mine].tolist(), length[mine].tolist(), strict=True):
            if distance < rule.form or (distance <= rule.break_ and (one, two) in before):
                bonded.add((one, two))
    return frozenset(bonded)


def _persistent(raw: Sequence[frozenset[Pair]], persistence: int) -> list[frozenset[Pair]]:
    """Changes that last; what a pair was at first counts as having lasted."""
    if persistence == 1 or not raw:
        return list(raw)
    present = [set(raw[0]), *(set() for _ in raw[1:])]
    for pair in frozenset().union(*raw):
        course = [pair in bonds for bonds in raw]
        state, number = course[0], 1
        while number < len(course):
            if course[number] != state and course[number : number + persistence] == [not state] * persistence:
                state = not state
            if state:
                present[number].add(pair)
            number += 1
    return [frozenset(bonds) for bonds in present]
