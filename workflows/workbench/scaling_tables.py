"""Tables of label time against size, in Markdown, from the lines that the scripts of scaling/ wrote."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.power_law import SMALLEST, PowerLaw, frames_law

Lines = list[dict[str, Any]]


def sizes_table(frames: Lines) -> str:
    """Core-seconds of whole frames, as measured."""
    rows = [f"| {entry['n_atoms']} | {entry['core_seconds']:.1f} |" for entry in frames]
    return "\n".join(["| atoms | core-seconds, whole frame at Γ |", "|---|---|", *rows])


def exponents_table(frames: Lines) -> str:
    """What exponent is fitted to all sizes, and to the larger ones alone."""
    lines = ["| fitted to | sizes | exponent |", "|---|---|---|"]
    for smallest in (0, 50, SMALLEST):
        law = frames_law(frames, smallest)
        name = f"{smallest} atoms and more" if smallest else "all sizes"
        lines.append(f"| {name} | {law.n_points} | {law.exponent:.2f} ± {law.exponent_error:.2f} |")
    return "\n".join(lines)


def acceleration_table(frames: Lines, substructures: Lines, per_frame: float) -> str:
    """Every substructure beside the whole frame it was cut from; ``per_frame`` is L, the substructures per labelled frame."""
    law: PowerLaw = frames_law(frames)
    largest = max(entry["n_atoms"] for entry in frames)
    columns = ("frame", "substructure", "screen, s", "crop + relax, s", "t_sub, core-s", "t_entire, core-s", "R_AL")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for entry in substructures:
        n = entry["n_atoms"]
        how = "within the fit" if SMALLEST <= n <= largest else "extrapolated"
        spread = np.exp(law.relative_error(n))
        lines.append(
            f"| {n} | {entry['n_sub']} atoms | {entry['screen_s']:.1f} | {entry['crop_s'] + entry['relax_s']:.1f} "
            f"| {entry['label_core_s']:.0f} | {law(n):.2g} ×/÷ {spread:.2f} ({how}) "
            f"| {law(n) / (entry['label_core_s'] * per_frame):.2g} |"
        )
    return "\n".join(lines)
