"""Bonds that form and break along a trajectory.

A distance that swings about a cutoff would make and break a bond at every swing. So a bond forms below one distance and breaks
above a longer one (hysteresis), and a change counts when it has lasted for so many frames (persistence). An atom that has one
bond and is handed over to another is near both for a moment: of two bonds the older one counts, until it breaks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from idealflow.errors import InputError

__all__ = [
    "BondRule",
    "Pair",
    "bonds_along",
    "check_indices",
    "check_persistence",
    "elements_in",
    "lasting_changes",
    "one_bond_each",
    "ruled_pairs",
    "rules_by_numbers",
    "same_atoms",
]

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
        If they are not positive, or a bond would break at a shorter distance than it forms.

    Examples
    --------
    >>> BondRule(0.9, 1.2)
    BondRule(form=0.9, break_=1.2)
    >>> BondRule(1.2, 0.9)
    Traceback (most recent call last):
    idealflow.errors.InputError: a bond forms at the shorter distance and breaks at the longer one, got 1.2 and 0.9 Å
    """

    form: float
    break_: float

    def __post_init__(self) -> None:
        if not (np.isfinite([self.form, self.break_]).all() and self.form > 0.0):
            raise InputError(f"distances of a bond must be positive and finite, got {self.form} and {self.break_} Å")
        if self.break_ < self.form:
            raise InputError(
                f"a bond forms at the shorter distance and breaks at the longer one, got {self.form} and {self.break_} Å"
            )


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
    check_persistence(persistence)
    by_numbers = rules_by_numbers(rules)
    raw: list[frozenset[Pair]] = []
    for frame in same_atoms(frames):
        before = raw[-1] if raw else frozenset()
        pairs = ruled_pairs(frame, by_numbers)
        raw.append(frozenset((i, j) for i, j, length, rule in pairs if length < rule.form or (i, j) in before))
    return _persistent(raw, persistence)


def one_bond_each(
    symbols: Sequence[str], bonds: Sequence[frozenset[Pair]], elements: Iterable[str]
) -> list[frozenset[Pair]]:
    """Bonds of every frame, of which atoms of some elements have no more than one each: the oldest, until it breaks.

    Of bonds that form in one frame the one that lasts longer is taken.

    Parameters
    ----------
    symbols
        Chemical symbols of the atoms.
    bonds
        From :func:`bonds_along`.
    elements
        The elements whose atoms have one bond, as hydrogen.

    Raises
    ------
    InputError
        If a bond names an atom that is not there, or an element is none.

    Examples
    --------
    A hydrogen changes its partner, and is near both for a frame:

    >>> bonds = [frozenset(pairs) for pairs in ([(0, 1)], [(0, 1), (1, 2)], [(1, 2)])]
    >>> [sorted(pairs) for pairs in one_bond_each(["H", "H", "N"], bonds, ["H"])]
    [[(0, 1)], [(0, 1)], [(1, 2)]]
    """
    check_indices(symbols, bonds)
    wanted = elements_in(elements)
    single = {i for i, symbol in enumerate(symbols) if symbol in wanted}
    rank = _ages(bonds)
    found: list[frozenset[Pair]] = []
    for number, now in enumerate(bonds):
        if number and now == bonds[number - 1]:
            found.append(found[-1])
            continue
        kept = set(now & found[-1]) if found else set()
        taken = {atom for pair in kept for atom in pair if atom in single}
        for pair in sorted(now - kept, key=lambda pair: (*rank[number][pair], pair)):
            if taken.isdisjoint(pair):
                kept.add(pair)
                taken.update(single.intersection(pair))
        found.append(frozenset(kept))
    return found


def check_persistence(persistence: int) -> None:
    """Raise an InputError if this is no number of frames from 1 on.

    Examples
    --------
    >>> check_persistence(0)
    Traceback (most recent call last):
    idealflow.errors.InputError: `persistence` must be a number of frames from 1 on, got 0
    """
    if not isinstance(persistence, Integral) or isinstance(persistence, bool) or persistence < 1:
        raise InputError(f"`persistence` must be a number of frames from 1 on, got {persistence!r}")


def check_indices(symbols: Sequence[str], bonds: Sequence[frozenset[Pair]]) -> None:
    """Raise an InputError if a bond is of an atom that is not there.

    Examples
    --------
    >>> check_indices(["H"], [frozenset({(0, 1)})])
    Traceback (most recent call last):
    idealflow.errors.InputError: a bond is between atoms 0 and 1, but there are symbols of 1; give both of the same atoms
    """
    for i, j in sorted(frozenset().union(*bonds)):
        if not (0 <= i < len(symbols) and 0 <= j < len(symbols)):
            raise InputError(
                f"a bond is between atoms {i} and {j}, but there are symbols of {len(symbols)}; give both of the same atoms"
            )


def elements_in(elements: Iterable[str]) -> frozenset[str]:
    """Elements as a set; a single symbol is one element. An InputError if one is no element.

    Examples
    --------
    >>> elements_in("Ir") == elements_in(["Ir"])
    True
    >>> elements_in(["Xx"])
    Traceback (most recent call last):
    idealflow.errors.InputError: unknown element 'Xx'; use chemical symbols
    """
    found = frozenset([elements] if isinstance(elements, str) else elements)
    for symbol in sorted(found):
        if symbol not in atomic_numbers:
            raise InputError(f"unknown element {symbol!r}; use chemical symbols")
    return found


def same_atoms(frames: Iterable[Atoms]) -> Iterator[Atoms]:
    """The frames, one after the other; an InputError at the first that has other atoms than the first.

    Examples
    --------
    >>> list(same_atoms([Atoms("H"), Atoms("N")]))
    Traceback (most recent call last):
    idealflow.errors.InputError: frame 1 has other atoms than the first; give frames of one trajectory
    """
    numbers: NDArray[np.int64] | None = None
    for place, frame in enumerate(frames):
        if numbers is None:
            numbers = frame.numbers.copy()
        if not np.array_equal(numbers, frame.numbers):
            raise InputError(f"frame {place} has other atoms than the first; give frames of one trajectory")
        yield frame


def rules_by_numbers(rules: Mapping[tuple[str, str], BondRule]) -> dict[Pair, BondRule]:
    """Rules by pair of atomic numbers, the lower one first.

    Raises
    ------
    InputError
        If there are none, a symbol is no element, or a pair has two rules.

    Examples
    --------
    >>> rules_by_numbers({("N", "H"): BondRule(1.25, 1.6)})
    {(1, 7): BondRule(form=1.25, break_=1.6)}
    """
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


def ruled_pairs(frame: Atoms, rules: Mapping[Pair, BondRule]) -> Iterator[tuple[int, int, float, BondRule]]:
    """Pairs of atoms i < j that are no farther apart than where their bond breaks: i, j, distance (Å) and rule.

    A pair that is near by several periodic images is given with each.

    Examples
    --------
    >>> list(ruled_pairs(Atoms("HN", [[0, 0, 0], [0, 0, 1.5]]), {(1, 7): BondRule(1.25, 1.6)}))
    [(0, 1, 1.5, BondRule(form=1.25, break_=1.6))]
    """
    from idealflow.core.descriptors.neighbours import neighbour_pairs  # with numba, which takes a second to import

    reach = float(
        np.nextafter(max(rule.break_ for rule in rules.values()), np.inf)
    )  # the search leaves its own cutoff out
    pairs = neighbour_pairs(frame.positions, frame.cell.array, frame.pbc, reach)
    i = np.repeat(np.arange(len(frame)), np.diff(pairs.offsets))
    once = i < pairs.j
    i, j, length = i[once], pairs.j[once], np.linalg.norm(pairs.vec[once], axis=1)
    low = np.minimum(frame.numbers[i], frame.numbers[j])
    high = np.maximum(frame.numbers[i], frame.numbers[j])
    for (a, b), rule in rules.items():
        mine = (low == a) & (high == b) & (length <= rule.break_)
        for one, two, distance in zip(i[mine].tolist(), j[mine].tolist(), length[mine].tolist(), strict=True):
            yield one, two, distance, rule


def lasting_changes(course: Sequence[bool], persistence: int, before: bool | None = None) -> list[bool]:
    """A yes or no at every frame, without changes that last for fewer frames.

    Parameters
    ----------
    course
        What it is at every frame.
    persistence
        Frames that a change has to last.
    before
        What it was before the first frame. None: what it is in the first one counts as having lasted.

    Examples
    --------
    >>> lasting_changes([True, False, True, False, False], 2)
    [True, True, True, False, False]
    >>> lasting_changes([True, False, True, False, False], 2, before=False)
    [False, False, False, False, False]
    """
    found: list[bool] = []
    state = before if before is not None or not course else course[0]
    for number in range(len(course)):
        if course[number] != state and list(course[number : number + persistence]) == [not state] * persistence:
            state = not state
        found.append(bool(state))
    return found


def _persistent(raw: Sequence[frozenset[Pair]], persistence: int) -> list[frozenset[Pair]]:
    """Changes that last."""
    if persistence == 1 or not raw:
        return list(raw)
    present: list[set[Pair]] = [set() for _ in raw]
    for pair in frozenset().union(*raw):
        for number, bonded in enumerate(lasting_changes([pair in bonds for bonds in raw], persistence)):
            if bonded:
                present[number].add(pair)
    return [frozenset(bonds) for bonds in present]


def _ages(bonds: Sequence[frozenset[Pair]]) -> list[dict[Pair, Pair]]:
    """For each frame and bond the frame in which it formed, and the negative one of that in which it breaks."""
    formed: list[dict[Pair, int]] = []
    for number, now in enumerate(bonds):
        before = formed[-1] if formed else {}
        formed.append(
            before if number and now == bonds[number - 1] else {pair: before.get(pair, number) for pair in now}
        )
    ages: list[dict[Pair, Pair]] = []
    ends: dict[Pair, int] = {}
    for number in reversed(range(len(bonds))):
        if not ages or bonds[number] != bonds[number + 1]:
            ends = {pair: ends.get(pair, number + 1) for pair in bonds[number]}
            ages.append({pair: (formed[number][pair], -ends[pair]) for pair in bonds[number]})
        else:
            ages.append(ages[-1])
    return ages[::-1]
