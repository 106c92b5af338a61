"""Why no crop could be made around a centre, and what helps."""

from __future__ import annotations

from idealflow.core.cropping.crop import Refused
from idealflow.core.cropping.surroundings import Surroundings

__all__ = ["nothing_fits"]

#: how a refusal begins, and what helps against it
_REMEDIES = {
    "more than max_atoms": "raise max_atoms",
    "net charge": "correct oxidation_states or leave them out",
    "composition error": "raise max_composition_error",
}


def nothing_fits(refused: list[Refused], sur: Surroundings, max_atoms: int, widths: tuple[float, float]) -> str:
    """Say why every candidate was refused, and what helps against just that."""
    least = sur.density * (2.0 * sur.cutoff) ** 3
    reasons: dict[str, int] = {}
    for one in refused:
        words = one.reason.split(";")[0]
        reasons[words] = reasons.get(words, 0) + 1
    common = sorted(reasons.items(), key=lambda item: -item[1])[:3]
    remedies = [remedy for start, remedy in _REMEDIES.items() if any(text.startswith(start) for text, _ in common)]
    remedies += ["widen cell_widths", "use a descriptor with a smaller r_cut or sigma"]
    remedies[0] = remedies[0][0].upper() + remedies[0][1:]
    return (
        f"no cell holds the core of {sur.cutoff:.2f} Å around this atom within max_atoms={max_atoms}; a cube of twice "
        f"that width has about {least:.0f} atoms; {len(refused)} candidates of widths {widths[0]:.2f} to {widths[1]:.2f} "
        f"Å were refused ({'; '.join(f'{n}x {text}' for text, n in common)}). "
        f"{', '.join(remedies[:-1])}, or {remedies[-1]}"
    )
