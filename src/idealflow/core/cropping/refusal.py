"""Why no crop could be made around a centre, and what helps."""

from __future__ import annotations

from collections import Counter

from idealflow.core.cropping.crop import Refused
from idealflow.core.cropping.surroundings import Surroundings

__all__ = ["nothing_fits"]

#: first words of a refusal → how the message goes on after "no cell holds the core", and what helps
_CAUSES = {
    "more than max_atoms": ("within max_atoms={max_atoms}", "raise max_atoms"),
    "net charge": (
        "and is neutral by oxidation_states (correct them or leave them out)",
        "correct oxidation_states or leave them out",
    ),
    "composition error": ("within max_composition_error (raise it)", "raise max_composition_error"),
    "the centre looks into empty space": (
        "and keeps the empty space that the centre looks into",
        "set waive_surface_rule to true to label cells that lose it",
    ),
}


def nothing_fits(refused: list[Refused], sur: Surroundings, max_atoms: int, widths: tuple[float, float]) -> str:
    """Say why every candidate was refused, and what helps against it.

    The message names the commonest cause first. Its part up to the first semicolon is the same for all centres with that cause,
    so that failed labels can be counted by it.

    Parameters
    ----------
    refused
        The candidates, with their reasons.
    sur
        The centre's surroundings.
    max_atoms
        The budget.
    widths
        Smallest and largest perpendicular width of the cells that were tried, Å.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.surroundings import survey
    >>> sur = survey(bulk("Cu", cubic=True) * 4, centre=0, cutoff=4.0, radius=12.0)
    >>> nothing_fits([Refused("more than max_atoms=40 atoms", {})], sur, 40, (8.0, 11.0)).split(";")[0]
    'no cell holds the core of 4.00 Å around this atom within max_atoms=40'
    """
    least = sur.density * (2.0 * sur.cutoff) ** 3
    common = Counter(one.reason.split(";")[0] for one in refused).most_common(3)
    causes = Counter(_cause(one.reason) for one in refused)
    first = max(causes, key=lambda cause: causes[cause], default="more than max_atoms")
    if first in _CAUSES:
        why = " " + _CAUSES[first][0].format(max_atoms=max_atoms)
    else:
        why = f": {first} (use a descriptor with a smaller r_cut or sigma)"
    remedies = [remedy for cause, (_, remedy) in _CAUSES.items() if cause in causes]
    remedies += ["widen cell_widths", "use a descriptor with a smaller r_cut or sigma"]
    remedies[0] = remedies[0][0].upper() + remedies[0][1:]
    return (
        f"no cell holds the core of {sur.cutoff:.2f} Å around this atom{why}; a cube of twice "
        f"that width has about {least:.0f} atoms; {len(refused)} candidates of widths {widths[0]:.2f} to {widths[1]:.2f} "
        f"Å were refused ({'; '.join(f'{n}x {text}' for text, n in common)}). {', '.join(remedies[:-1])}, or {remedies[-1]}"
    )


def _cause(reason: str) -> str:
    """The known cause with which a refusal begins; else the words before its first semicolon."""
    return next((start for start in _CAUSES if reason.startswith(start)), reason.split(";", maxsplit=1)[0])
