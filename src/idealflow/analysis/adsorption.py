"""Molecules that come to a surface and leave it along a trajectory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ase import Atoms

from idealflow.analysis.bonds import (
    BondRule,
    check_persistence,
    elements_in,
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
    held. One that is made of what was held is held where it is not farther than that either.

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
        Frames that a change has to last within the life of a molecule. A shorter one, also at its end, did not happen. What a
        molecule is when it is made counts where it lasts, or is what one of those was that it was made of.

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
    below = elements_in(surface)
    across = {pair: rule for pair, rule in rules.items() if len(below.intersection(pair)) == 1}
    if not across:
        raise InputError(
            f"no rule is for a bond between the surface ({', '.join(sorted(below))}) and another element; give one"
        )
    by_numbers = rules_by_numbers(across)
    lives: dict[tuple[Molecule, int], _Life] = {}  # by the frame in which it begins
    now: dict[Molecule, _Life] = {}
    n_frames = 0
    for number, frame in enumerate(same_atoms(frames)):
        n_frames += 1
        if number >= len(molecules):
            break
        if number == 0 or molecules[number] is not molecules[number - 1]:
            _check_molecules(molecules[number], frame, below)
            of_atom = {atom: life for one, life in now.items() for atom in one.atoms}
            before, now = now, {}
            for one in molecules[number]:
                if one not in before:
                    parents = {id(of_atom[atom]): of_atom[atom] for atom in one.atoms if atom in of_atom}
                    before[one] = lives[one, number] = _Life(list(parents.values()))
                now[one] = before[one]
        near, within = _contacts(frame, by_numbers, below)
        for one, life in now.items():
            touches = within if life.was_held else near
            life.course.append(not touches.isdisjoint(one.atoms))
    if n_frames != len(molecules):
        raise InputError(
            f"there must be molecules for every frame, got {len(molecules)} lists of them and "
            f"{'more' if n_frames > len(molecules) else n_frames} frames; give both of one trajectory"
        )
    held: list[set[Molecule]] = [set() for _ in molecules]
    for (one, start), life in lives.items():  # those that it was made of come before
        life.lasting = lasting_changes(
            life.course, persistence, any(parent.lasting[-1] for parent in life.parents) if start else None
        )
        for number, here in enumerate(life.lasting, start=start):
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

    Raises
    ------
    InputError
        If there are more or fewer frames of the one than of the other.

    Examples
    --------
    A hydrogen molecule leaves the surface in the second frame:

    >>> molecule = Molecule((0, 1), "H2")
    >>> [str(event) for event in adsorption_events([[molecule]] * 2, [frozenset({molecule}), frozenset()])]
    ['frame 1: H2* → H2 (atoms 0, 1)']
    """
    if len(molecules) != len(held):
        raise InputError(
            f"there must be as many frames of molecules as of those held, got {len(molecules)} and {len(held)}; "
            "give both of one trajectory"
        )
    events: list[ReactionEvent] = []
    for number, (before, after) in enumerate(pairwise(held), start=1):
        changed = (before ^ after).intersection(molecules[number - 1]).intersection(molecules[number])
        for one in sorted(changed):
            sides = (f"{one.name}*",), (one.name,)
            events.append(ReactionEvent(number, one.atoms, *(sides if one in before else sides[::-1])))
    return events


@dataclass(eq=False)
class _Life:
    """A molecule from where it is made on: what it was made of, and whether it is held, by distances and by what lasts."""

    parents: list[_Life]
    course: list[bool] = field(default_factory=list)
    lasting: list[bool] = field(default_factory=list)

    @property
    def was_held(self) -> bool:
        return self.course[-1] if self.course else any(parent.course[-1] for parent in self.parents)


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


def _check_molecules(molecules: Sequence[Molecule], frame: Atoms, surface: frozenset[str]) -> None:
    for one in molecules:
        if one.atoms[-1] >= len(frame):
            raise InputError(
                f"{one.name} has atom {one.atoms[-1]}, but a frame has {len(frame)}; give both of one trajectory"
            )
        part = surface.intersection(frame.symbols[i] for i in one.atoms)
        if part:
            raise InputError(
                f"{one.name} has an atom of the surface ({', '.join(sorted(part))}); make molecules without={sorted(surface)}"
            )
