"""Events in which molecules become others along a trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from idealflow.analysis.molecules import Molecule, changed_groups

__all__ = ["ReactionEvent", "reaction_events"]


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
        Names of the molecules, sorted.

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


def reaction_events(molecules: Sequence[Sequence[Molecule]]) -> list[ReactionEvent]:
    """Events in which molecules change along a trajectory, in order.

    Molecules that share atoms before and after belong to one event: a hydrogen that goes from one molecule to another makes
    one event of both.

    Parameters
    ----------
    molecules
        From :func:`molecules_along`.

    Examples
    --------
    >>> from idealflow.analysis import molecules_along
    >>> bonds = [frozenset({(0, 1)}), frozenset({(0, 1)}), frozenset({(1, 2)})]
    >>> [str(event) for event in reaction_events(molecules_along(["H", "H", "N"], bonds))]
    ['frame 2: H2 + N → H + HN (atoms 0, 1, 2)']
    """
    events: list[ReactionEvent] = []
    for number, (before, after) in enumerate(pairwise(molecules), start=1):
        if after is before or after == before:
            continue
        for gone, made in changed_groups(before, after):
            atoms = sorted(atom for one in gone for atom in one.atoms)
            sides = [tuple(sorted(one.name for one in side)) for side in (gone, made)]
            events.append(ReactionEvent(number, tuple(atoms), *sides))
    return events
