"""Why no crop could be made around a centre, and what helps."""

from __future__ import annotations

from collections import Counter

from idealflow.core.cropping.crop import Refused
from idealflow.core.cropping.surroundings import Surroundings

__all__ = ["nothing_fits"]

#: how a refusal begins → what no cell does, and what helps
_KINDS = {
    "more than max_atoms": ("within max_atoms={max_atoms}", "raise max_atoms"),
    "net charge": (
        "and is neutral by oxidation_states (correct them or leave them out)",
        "correct oxidation_states or leave them out",
    ),
    "composition error": ("within max_composition_error (raise it)", "raise max_composition_error"),
}


def nothing_fits(refused: list[Refused], sur: Surroundings, max_atoms: int, widths: tuple[float, float]) -> str:
    """Say why every candidate was refused, and what helps against just that.

    The part before the first semicolon is the same for all centres with the same cause, the commonest one here.
    """
    least = sur.density * (2.0 * sur.cutoff) ** 3
    common = Counter(one.reason.split(";")[0] for one in refused).most_common(3)
    kinds = Counter(_kind(one.reason) for one in refused)
    first = max(kinds, key=lambda kind: kinds[kind], default="more than max_atoms")
    if first in _KINDS:
        cause = " " + _KINDS[first][0].format(max_atoms=max_atoms)
    else:
        cause = f": {first} (use a descriptor with a smaller r_cut or sigma)"
    remedies = [remedy for kind, (_, remedy) in _KINDS.items() if kind in kinds]
    remedies += ["widen cell_widths", "use a descriptor with a smaller r_cut or sigma"]
    remedies[0] = remedies[0][0].upper() + remedies[0][1:]
    return (
        f"no cell holds the core of {sur.cutoff:.2f} Å around this atom{cause}; a cube of twice "
        f"that width has about {least:.0f} atoms; {len(refused)} candidates of widths {widths[0]:.2f} to {widths[1]:.2f} "
        f"Å were refused ({'; '.join(f'{n}x {text}' for text, n in common)}). {', '.join(remedies[:-1])}, or {remedies[-1]}"
    )


def _kind(reason: str) -> str:
    """How a refusal begins, where that is known; else its first part."""
    return next((start for start in _KINDS if reason.startswith(start)), reason.split(";", maxsplit=1)[0])
