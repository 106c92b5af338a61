"""Molecules that come to a surface and leave it along a trajectory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from idealflow.analysis.reactions import Pair, ReactionEvent, formula, molecules_of

__all__ = ["adsorption_events"]


def adsorption_events(
    symbols: Sequence[str], bonds: Sequence[frozenset[Pair]], surface: Iterable[str]
) -> list[ReactionEvent]:
    """Events in which a molecule binds to a surface or leaves it, in order; a bound one is marked by a star.

    A molecule that changes in the same frame is none of these events but one of
    :func:`~idealflow.analysis.reaction_events`.

    Parameters
    ----------
    symbols
        Chemical symbols of the atoms.
    bonds
        From :func:`~idealflow.analysis.bonds_along`, those to the surface among them.
    surface
        Elements that the surface consists of.

    Examples
    --------
    A hydrogen molecule leaves an iridium atom in the second frame:

    >>> bonds = [frozenset({(0, 1), (1, 2)}), frozenset({(0, 1)})]
    >>> [str(event) for event in adsorption_events(["H", "H", "Ir"], bonds, ["Ir"])]
    ['frame 1: H2* → H2 (atoms 0, 1)']
    """
    below = frozenset(surface)
    events: list[ReactionEvent] = []
    before: dict[tuple[int, ...], bool] = {}
    for number, now in enumerate(bonds):
        held = {one for i, j in now if (symbols[i] in below) != (symbols[j] in below) for one in (i, j)}
        after = {molecule: not held.isdisjoint(molecule) for molecule in molecules_of(symbols, now, below)}
        for molecule, bound in after.items():
            if molecule in before and before[molecule] != bound:
                name = formula(symbols, molecule)
                sides = ((name,), (f"{name}*",)) if bound else ((f"{name}*",), (name,))
                events.append(ReactionEvent(number, molecule, *sides))
        before = after
    return events
