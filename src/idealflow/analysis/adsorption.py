"""Molecules that come to a surface and leave it along a trajectory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from ase import Atoms

from idealflow.analysis.bonds import (
    BondRule,
    check_persistence,
    lasting_changes,
    ruled_pairs,
    rules_by_numbers,
    same_atoms,
)
from idealflow.analysis.molecules import Molecule
from idealflow.analysis.reactions import ReactionEvent
from idealflow.errors import InputError

__all__ = ["adsorption_events", "held_along"]


def held_along(
    frames: Iterable[Atoms],
    molecules: Sequence[Sequence[Molecule]],
    rules: Mapping[tuple[str, str], BondRule],
    surface: Iterable[str],
    persistence: int = 1,
) -> list[frozenset[Molecule]]:
    """Molecules of every frame that a surface holds.

    A molecule is held from where one of its atoms comes nearer to any atom of the surface than the distance at which their bond
    forms, until all of its atoms are farther from all of them than where bonds break. So one that slides or turns over stays
    held.

    Parameters
    ----------
    frames
        Frames of the trajectory.
    molecules
        From :func:`~idealflow.analysis.molecules_along`, without the elements of the surface.
    rules
        When an atom is bound to one of the surface, by pair of symbols in any order; other pairs are passed over.
    surface
        Elements that the surface consists of.
    persistence
        Frames that a change has to last within the life of a molecule. A shorter one, also at its end, did not happen.

    Raises
    ------
    InputError
        If no rule is for an atom of the surface and one of another element, a symbol is no element, a persistence is not a
        positive number, atoms change between frames, or there are more or fewer frames than lists of molecules.

    Examples
    --------
    Hydrogen passes from one iridium atom over to another:

    >>> from idealflow.analysis import molecules_along
    >>> frames = [Atoms("HIr2", [[x, 0, 1.5], [0, 0, 0], [4, 0, 0]]) for x in (0, 1, 2, 3, 4)]
    >>> molecules = molecules_along(["H", "Ir", "Ir"], [frozenset()] * 5, without=["Ir"])
    >>> [len(held) for held in held_along(frames, molecules, {("H", "Ir"): BondRule(2.0, 2.6)}, ["Ir"])]
    [1, 1, 1, 1, 1]
    """
    check_persistence(persistence)
    below = frozenset(surface)
    across = {pair: rule for pair, rule in rules.items() if len(below.intersection(pair)) == 1}
    if not across:
        raise InputError(
            f"no rule is for a bond between the surface ({', '.join(sorted(below))}) and another element; give one"
        )
    by_numbers = rules_by_numbers(across)
    courses: dict[tuple[Molecule, int], list[bool]] = {}  # of each life of a molecule, by the frame of its beginning
    born: dict[Molecule, int] = {}
    bound: set[int] = set()  # atoms
    n_frames = 0
    for number, frame in enumerate(same_atoms(frames)):
        n_frames += 1
        if number >= len(molecules):
            break
        near, within = _contacts(frame, by_numbers, below)
        bound = near | (bound & within)
        born = {one: born.get(one, number) for one in molecules[number]}
        for one, start in born.items():
            course = courses.setdefault((one, start), [])
            touches = bound if not course else within if course[-1] else near
            course.append(not touches.isdisjoint(one.atoms))
    if n_frames != len(molecules):
        raise InputError(
            f"there must be molecules for every frame, got {len(molecules)} lists of them and "
            f"{'more' if n_frames > len(molecules) else n_frames} frames; give both of one trajectory"
        )
    held: list[set[Molecule]] = [set() for _ in molecules]
    for (one, start), course in courses.items():
        for number, here in enumerate(lasting_changes(course, persistence), start=start):
            if here:
                held[number].add(one)
    return [frozenset(some) for some in held]


def adsorption_events(
    molecules: Sequence[Sequence[Molecule]], held: Sequence[frozenset[Molecule]]
) -> list[ReactionEvent]:
    """Events in which a molecule binds to a surface or leaves it, in order; a bound one is marked by a star.

    A molecule that changes in the same frame is none of these events but one of
    :func:`~idealflow.analysis.reaction_events`.

    Parameters
    ----------
    molecules
        From :func:`~idealflow.analysis.molecules_along`.
    held
        Those of every frame that the surface holds, from :func:`held_along`.

    Examples
    --------
    A hydrogen molecule leaves the surface in the second frame:

    >>> molecule = Molecule((0, 1), "H2")
    >>> [str(event) for event in adsorption_events([[molecule]] * 2, [frozenset({molecule}), frozenset()])]
    ['frame 1: H2* → H2 (atoms 0, 1)']
    """
    events: list[ReactionEvent] = []
    for number, (before, after) in enumerate(pairwise(held), start=1):
        changed = (before ^ after).intersection(molecules[number - 1]).intersection(molecules[number])
        for one in sorted(changed):
            sides = (f"{one.name}*",), (one.name,)
            events.append(ReactionEvent(number, one.atoms, *(sides if one in before else sides[::-1])))
    return events


def _contacts(
    frame: Atoms, rules: Mapping[tuple[int, int], BondRule], surface: frozenset[str]
) -> tuple[set[int], set[int]]:
    """Atoms that are near to one of the surface, and those that are not farther from all of it than where bonds break."""
    on_surface = [symbol in surface for symbol in frame.get_chemical_symbols()]
    near: set[int] = set()
    within: set[int] = set()
    for i, j, length, rule in ruled_pairs(frame, rules):
        atom = j if on_surface[i] else i
        within.add(atom)
        if length < rule.form:
            near.add(atom)
    return near, within
