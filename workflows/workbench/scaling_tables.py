"""Tables, in Markdown, and figure of label time against size, from the lines that the scripts of scaling/ wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.power_law import SMALLEST, PowerLaw, frames_law

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


def times_figure(frames: Lines, substructures: Lines) -> Figure:
    """Whole frames, their fit and its extrapolation, and substructures: core-seconds against the atoms of the frame."""
    from matplotlib.figure import Figure

    law = frames_law(frames)
    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    axes = figure.subplots()
    measured = np.array([[entry["n_atoms"], entry["core_seconds"]] for entry in frames])
    largest = measured[:, 0].max()
    inside, beyond = np.geomspace(SMALLEST, largest, 20), np.geomspace(largest, 1e6, 20)
    axes.loglog(*measured.T, "o", color="C0", label="whole frame, measured")
    axes.loglog(inside, [law(n) for n in inside], "-", color="C0", label=f"fit, N^{law.exponent:.2f}")
    axes.loglog(beyond, [law(n) for n in beyond], ":", color="C0", label="extrapolated")
    small = np.array([[entry["n_atoms"], entry["label_core_s"]] for entry in substructures])
    axes.loglog(*small.T, "s", color="C3", label="substructure, measured")
    axes.set(xlabel="atoms in the frame", ylabel="core-seconds of a label")
    axes.legend(frameon=False, fontsize=8)
    return figure
