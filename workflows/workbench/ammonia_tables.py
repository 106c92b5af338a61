"""Tables and figures of iridium in nitrogen and hydrogen, from what `workflows/haber_bosch/run.py` kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import melting_tables as of_melting
from workbench.ammonia_events import LISTED
from workbench.legends import stacked
from workbench.markdown import markdown, thousands

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).resolve().parents[1] / "haber_bosch" / "results"
COLOURS = {"haber-dissolved": "C0", "haber-nitrogen": "C1", "haber-production": "C2", "haber-nanoparticle": "C3"}
MOVED_BY = {"learning": "with learning", "first": "first model, without", "last": "last model, without"}
PAINT = {"Ir": "#b8c4d8", "N": "#3465c8", "H": "#f2f2f2"}
RADII = {"Ir": 1.36, "N": 0.75, "H": 0.45}  # Å
WINDOW = 250  # steps in which labels are counted, twelve windows at most; else a multiple
SHOWN = (
    "H2 dissociates", "H2 forms", "N2 dissociates", "N2 forms", "N2 reacts undivided", "NH forms", "NH breaks", "NH2 forms",
    "NH2 breaks", "NH3 forms", "NH3 breaks", "H2 leaves the metal", "N2 leaves the metal", "NH3 leaves the metal",
)  # fmt: skip


@cache
def kept(size: str) -> dict[str, Any]:
    """What was measured at a size, by its parts."""
    found: dict[str, Any] = json.loads((RESULTS / f"{size}.json").read_text())
    return found


def campaigns(size: str) -> list[str]:
    """Names of the campaigns, in order."""
    return [row["campaign"] for row in kept(size)["ancestry"]]


def pretty(text: str) -> str:
    """Numbers of atoms in formulas below the line."""
    return text.replace("H2", "H₂").replace("N2", "N₂").replace("H3", "H₃")


def decline(size: str) -> str:
    """Labels in windows of steps, and for each 1 000 steps of the first and of the second half of a campaign."""
    longest = max(row["n_steps"] for row in kept(size)["ancestry"])
    window = WINDOW * -(-longest // (12 * WINDOW))
    n_windows = -(-longest // window)
    rows = []
    for row in kept(size)["ancestry"]:
        at = np.array([cell["step"] for cell in kept(size)["cells"] if cell["campaign"] == row["campaign"]])
        counts = [
            str(int(((at >= k * window) & (at < (k + 1) * window)).sum())) if k * window < row["n_steps"] else ""
            for k in range(n_windows)
        ]
        half = row["n_steps"] / 2
        rates = [f"{1000 * int(some.sum()) / half:.0f}" for some in (at < half, at >= half)]
        rows.append([row["campaign"], *counts, *rates])
    spans = [f"{k * window}–{(k + 1) * window}" for k in range(n_windows)]
    return markdown(["labels in steps", *spans, "per 1 000, first half", "second half"], rows)


def cells(size: str) -> str:
    """What labels were of: centres by element, and the size of the cells."""
    rows = []
    for campaign in campaigns(size):
        mine = [row for row in kept(size)["cells"] if row["campaign"] == campaign]
        if not mine:
            continue
        atoms = [row["Ir"] + row["N"] + row["H"] for row in mine]
        centres = [str(sum(row["centre"] == symbol for row in mine)) for symbol in ("Ir", "N", "H")]
        metal = sum(row["Ir"] == 0 for row in mine)
        sizes = f"{np.median(atoms):.0f} ({min(atoms)} to {max(atoms)})"
        rows.append([campaign, str(len(mine)), *centres, sizes, str(metal)])
    heads = [
        "campaign",
        "labels",
        "around Ir",
        "around N",
        "around H",
        "atoms, median (least to most)",
        "cells of gas alone",
    ]
    return markdown(heads, rows)


def bare(size: str) -> str:
    """The same starts with and without learning: how far each came, and how wrong the energy was that moved it."""
    heads = ["start of", "moved by", "steps", "ended", "energy error, first half", "second half", "largest force, eV/Å"]
    rows = []
    for row in kept(size)["bare"]:
        points = [p for p in kept(size)["bare_errors"] if (p["campaign"], p["by"]) == (row["campaign"], row["by"])]
        half = max(p["step"] for p in points) / 2
        parts = [[p["energy_error"] for p in points if (p["step"] > half) == late] for late in (False, True)]
        means = [f"{np.mean(part):+.1f}" if part else "–" for part in parts]
        largest = max(p["largest_force"] for p in points)
        ended = row["detail"] or "as planned"
        moved = MOVED_BY[row["by"]]
        rows.append([row["campaign"], moved, thousands(row["step"]), ended, *means, thousands(round(largest))])
    return markdown(heads, rows)


def chain(size: str) -> str:
    """The campaigns; the first began with the first set, a file of labelled structures."""
    first, *later = kept(size)["ancestry"]
    begun = first["n_carried_labels"] + sum(row["n"] for row in kept(size)["first_set"])
    return of_melting.chain([first | {"n_carried_labels": begun}, *later])


def events(size: str) -> str:
    """How often each event happened, by campaign."""
    rows = []
    for kind in SHOWN:
        counts = [
            sum(row.get("n", 1) for row in kept(size)["events"] if row["campaign"] == campaign and kind in row["kinds"])
            for campaign in campaigns(size)
        ]
        rows.append([pretty(kind), *map(str, counts)])
    longest = {row["campaign"]: f"{row['longest_fs']:.0f}" for row in kept(size)["waits"]}
    rows.append(["longest wait of a molecule for others, fs", *(longest[campaign] for campaign in campaigns(size))])
    return markdown(["", *campaigns(size)], rows)


def looked_at(size: str) -> str:
    """What a random sample of the events showed in pictures, by kind: the number, and what it was."""
    what = ("looked_at", "right", "undone", "wrong", "unclear")
    sums: dict[str, list[int]] = {}
    for row in kept(size)["looked_at"]:
        before = sums.get(row["kind"], [0] * len(what))
        sums[row["kind"]] = [n + row[name] for n, name in zip(before, what, strict=True)]
    heads = ["", "looked at", "as named", "undone within 60 fs", "not as named", "unclear"]
    return markdown(heads, [[pretty(kind), *map(str, counts)] for kind, counts in sums.items()])


def listed(size: str, most: int = 12) -> str:
    """The rare events one by one: when, what became what, and the atoms."""
    rows = []
    for row in kept(size)["events"]:
        if not set(row["kinds"]) & set(LISTED):
            continue
        change = pretty(f"{' + '.join(row['reactants'])} → {' + '.join(row['products'])}")
        atoms = ", ".join(map(str, row["atoms"]))
        rows.append([row["campaign"], f"{row['time_fs']:.0f}", change, atoms, f"{row['lasted_fs']:.0f}"])
    return markdown(["campaign", "time, fs", "event", "atoms", "until one of them reacts again, fs"], rows[:most])


def energies(size: str) -> str:
    """Energies of the steps by the learned force field and by its label source on the same frames, eV."""
    rows = []
    for row in kept(size)["reactions"]:
        off = row["learned"] - row["reference"]
        cells = [f"{row['learned']:+.2f}", f"{row['reference']:+.2f} ± {row['spread']:.2f}"]
        rows.append([row["step"], *cells, f"{off:+.2f} ± {row['off_spread']:.2f}"])
    return markdown(["step, eV", "learned force field", "reference", "difference"], rows)


def fits(size: str) -> str:
    """The last model beside fits from scratch, on the labels and on frames of each campaign: energy, meV/atom | forces, meV/Å."""
    by = {(row["fit"], row["frames"]): row for row in kept(size)["fits"]}
    places = list(dict.fromkeys(row["frames"] for row in kept(size)["fits"]))
    rows = []
    for name in dict.fromkeys(row["fit"] for row in kept(size)["fits"]):
        cells = [f"{by[name, place]['energy']:.1f} \\| {by[name, place]['force']:.0f}" for place in places]
        rows.append([name, *cells])
    return markdown(["", *places], rows)


def reach(size: str) -> str:
    """What the reference's forces on the core of a cell differ by from those on the same atoms in the frame, meV/Å."""
    rows = []
    for campaign in campaigns(size):
        mine = [row for row in kept(size)["reach"] if row["campaign"] == campaign]
        if not mine:
            continue
        centre, core = ([1e3 * row[name] for row in mine] for name in ("centre", "core"))
        middle, most = np.quantile(centre, [0.5, 0.9])
        rows.append([campaign, str(len(mine)), f"{middle:.0f} ({most:.0f})", f"{np.mean(core):.0f}"])
    heads = ["cells of", "cells", "force on the centre, median (90 %)", "components on core atoms, mean"]
    return markdown(heads, rows)


def first_set(size: str) -> str:
    """What the first set holds."""
    rows = [
        [row["kind"], str(row["n"]), f"{row['least']} to {row['most']}", f"{row['force']:.1f}"]
        for row in kept(size)["first_set"]
    ]
    return markdown(["", "labels", "atoms", "median of the largest force, eV/Å"], rows)


def triggering(size: str) -> str:
    """Atoms of the first campaign's frames that are new to first sets of cold and of warm metal."""
    rows = [
        [
            f"up to {row['upto']:g} Å", str(row["n_structures"]), f"{row['threshold']:.1f}",
            *(f"{row[symbol]:.1f}" for symbol in ("Ir", "N", "H")),
        ]
        for row in kept(size)["triggering"]
    ]  # fmt: skip
    return markdown(["metal displaced by", "structures", "τ", "Ir above τ in a frame", "N", "H"], rows)


def course_figure(size: str) -> Figure:
    """Temperature, novelty, labels, and molecules, on the time axis of the chain."""
    figure, axes = stacked(4, (7.0, 7.5), sharex=True)
    labels, counted = 0, axes[1].twinx()
    for campaign in campaigns(size):
        colour = COLOURS[campaign]
        mine = [row for row in kept(size)["course"] if row["campaign"] == campaign]
        times = [row["time_ps"] for row in mine]
        axes[0].plot(
            times, [row["temperature"] for row in mine], color=colour, lw=1, label=campaign.removeprefix("haber-")
        )
        axes[1].semilogy(times, [row["ratio"] for row in mine], ".", color=colour, ms=3)
        at = [row["time_ps"] for row in kept(size)["labels"] if row["campaign"] == campaign]
        numbers = [labels, *range(labels + 1, labels + len(at) + 1), labels + len(at)]
        counted.step([times[0], *at, times[-1]], numbers, "k", where="post", lw=1)
        labels += len(at)
        found = [row for row in kept(size)["species"] if row["campaign"] == campaign]
        at_time = [row["time_ps"] for row in found]
        for number, name in enumerate(("H2", "N2", "H", "N")):
            label = pretty(name) if campaign == campaigns(size)[0] else None
            axes[2].plot(at_time, [row[name] for row in found], color=f"C{number}", lw=1, label=label)
        for number, name in enumerate(("NH", "NH2", "NH3")):
            label = pretty(name) if campaign == campaigns(size)[0] else None
            axes[3].plot(at_time, [row[name] for row in found], color=f"C{number + 4}", lw=1, label=label)
    counted.set_ylabel("labels (black)")
    axes[1].axhline(1.0, color="grey", lw=0.8)
    axes[0].set(ylabel="temperature, K")
    axes[1].set(ylabel="highest u/τ")
    axes[2].set(ylabel="molecules, atoms")
    axes[3].set(ylabel="molecules", xlabel="time along the chain, ps")
    for axis in (axes[0], axes[2], axes[3]):
        axis.legend(frameon=False, ncols=4, fontsize=8, loc="upper left")
        axis.set_ylim(top=1.3 * axis.get_ylim()[1])
    return figure


def bare_figure(size: str) -> Figure:
    """Error of the energy that moves the atoms, with and without learning, from the same starts."""
    from matplotlib.ticker import SymmetricalLogLocator

    begun = list(dict.fromkeys(row["campaign"] for row in kept(size)["bare"]))
    figure, axes = stacked(len(begun), (6.0, 6.5))
    styles = {"learning": ("C0", "o-"), "first": ("C3", "x-"), "last": ("C2", "+-")}
    for axis, campaign in zip(axes, begun, strict=True):
        for by, (colour, style) in styles.items():
            points = [p for p in kept(size)["bare_errors"] if (p["campaign"], p["by"]) == (campaign, by)]
            steps, off = [p["step"] for p in points], [p["energy_error"] for p in points]
            axis.plot(steps, off, style, color=colour, lw=1, ms=4, label=MOVED_BY[by])
        axis.axhline(0.0, color="grey", lw=0.8)
        axis.set_yscale("symlog", linthresh=10.0)
        axis.yaxis.set_major_locator(SymmetricalLogLocator(base=10.0, linthresh=10.0))
        axis.yaxis.get_major_locator().set_params(numticks=7)
        axis.set(ylabel="meV/atom")
        axis.set_title(campaign, fontsize=9, loc="left")
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, fontsize=8, ncols=3, loc="outside upper center")
    axes[-1].set(xlabel="step")
    return figure


def events_figure(size: str) -> Figure:
    """Events in three moments: before, at and after; what takes part has dark rims, depth is shown by paler colours."""
    rows = kept(size)["snapshots"]
    lines = [
        (f"{pretty(kind)}\n{mine[0]['campaign']}", mine)
        for kind in dict.fromkeys(row["kind"] for row in rows)
        for mine in [[row for row in rows if row["kind"] == kind]]
    ]
    return moments_figure(lines)


def moments_figure(lines: Sequence[tuple[str, Sequence[dict[str, Any]]]]) -> Figure:
    """Lines of pictures, each line with its name and the surroundings of an event at as many times as the others have."""
    from matplotlib.figure import Figure

    width = len(lines[0][1])
    figure = Figure(figsize=(7.0 / 3 * width, 2.2 * len(lines)), layout="constrained")
    axes = figure.subplots(len(lines), width, squeeze=False)
    for line, (name, rows) in zip(axes, lines, strict=True):
        for axis, row in zip(line, rows, strict=True):
            places = np.array(row["positions"])
            for place in np.argsort(places[:, 2]):
                symbol, mine = row["symbols"][place], place in row["which"]
                x, y, depth = places[place]
                look = {
                    "s": RADII[symbol] ** 2 * 220.0,
                    "alpha": 1.0 if mine else 0.45 + 0.05 * max(-4.0, min(depth, 4.0)),
                }
                axis.scatter(x, y, color=PAINT[symbol], edgecolor="k", lw=1.8 if mine else 0.3, **look)
            axis.set(xlim=(-5.0, 5.0), ylim=(-5.0, 4.0), aspect="equal", xticks=[], yticks=[])
            axis.set(xlabel=f"{row['time_fs']:.0f} fs", ylabel=name if axis is line[0] else " ")
    return figure


def value(part: str, name: str, size: str) -> str:
    """A number: a sum over the campaigns of the chain (`sum cpu_s`), or of one of them (`haber-production n_steps`)."""
    rows = kept(size)["ancestry"]
    if part != "sum":
        rows = [row for row in rows if row["campaign"] == part]
    total = sum(row[name] for row in rows)
    return f"{total / 60:.0f}" if name == "cpu_s" else thousands(round(total))


TABLES: dict[str, Callable[[str], str]] = {
    "chain": chain,
    "errors": lambda size: of_melting.errors(kept(size)["errors"]),
    "first-set": first_set,
    "triggering": triggering,
    "decline": decline,
    "cells": cells,
    "bare": bare,
    "events": events,
    "listed": listed,
    "looked-at": looked_at,
    "energies": energies,
    "reach": reach,
}
FIGURES: dict[str, Callable[[str], Figure]] = {"course": course_figure, "bare": bare_figure, "events": events_figure}
