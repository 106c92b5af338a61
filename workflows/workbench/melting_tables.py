"""Tables and figures of chains of melting campaigns, from what `workflows/li_melting/run.py` kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import scan_tables
from workbench.front_page import gpaw_law
from workbench.legends import SOURCES, stacked
from workbench.markdown import digits, markdown, thousands

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).resolve().parents[1] / "li_melting" / "results"
CRYSTALS = ("9R", "fcc", "bcc", "heating")
#: markers of the map of environments
MAPPED = {
    "frame": {"marker": "o", "ms": 6, "color": "lightgrey"},
    "vacuum crop": {"marker": "x", "ms": 4, "color": "C3"},
    "crop, not yet relaxed": {"marker": "s", "ms": 3, "color": "C1"},
    "substructure": {"marker": ".", "ms": 4, "color": "C0"},
}
COLOURS = {"li-9R": "C0", "li-fcc": "C1", "li-bcc": "C2", "li-heating": "C4"}


@cache
def kept(size: str) -> dict[str, Any]:
    """What was measured at a size, by its parts."""
    found: dict[str, Any] = json.loads((RESULTS / f"{size}.json").read_text())
    return found


def chain(ancestry: list[dict[str, Any]]) -> str:
    """The campaigns: what each began with, added and cost."""
    heads = [
        "campaign", "atoms", "steps", "labels it began with", "its own", "frames labelled", "L", "R_AL", "R_FPMD",
        "t_sub, s", "t_entire, s", "CPU, minutes",
    ]  # fmt: skip
    rows = []
    for row in ancestry:
        cpu = "–" if row["cpu_s"] is None else f"{row['cpu_s'] / 60:.1f}"
        rows.append([
            row["campaign"], str(row["n_atoms"]), thousands(row["n_steps"]), str(row["n_carried_labels"]),
            str(row["n_own_labels"]), str(row["n_labelled_frames"]), *(number(row[name], 3) for name in ("L", "R_AL")),
            number(row["R_FPMD"], 2), *(number(row[name], 2) for name in ("t_sub_s", "t_entire_s")), cpu,
        ])  # fmt: skip
    return markdown(heads, rows)


#: ps of a campaign of the paper's size, which jumps from 200 to 800 K at 50 ps
_WINDOWS = ((0, 1), (1, 50), (50, 51), (51, 52), (52, 55), (55, 60), (60, 100))


def decline(ancestry: list[dict[str, Any]], labels: list[dict[str, Any]]) -> str:
    """Labels that each campaign of the paper's size asked for in stretches of its time."""
    rows = []
    for campaign, begun in ((row["campaign"], row["chain_time_fs"] / 1000.0) for row in ancestry):
        times = [row["time_ps"] - begun for row in labels if row["campaign"] == campaign]
        counts = [sum(begin <= time < end for time in times) for begin, end in _WINDOWS]
        if campaign != "li-heating":
            rows.append([campaign, *map(str, counts)])
    return markdown(["campaign", *(f"{begin}–{end} ps" for begin, end in _WINDOWS)], rows)


def number(value: float | None, significant: int) -> str:
    """Digits, or a dash for what there is not."""
    return "–" if value is None else digits(value, significant)


def errors(measured: list[dict[str, Any]]) -> str:
    """Errors on frames of each campaign and stage: energy with its sign and absolute, meV/atom; forces, meV/Å."""
    heads = [
        "frames of",
        "mean T, K",
        "frames",
        "first model",
        "the campaign's own",
        "last model",
        "size of the forces",
    ]
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for row in measured:
        found.setdefault((row["campaign"], row["stage"]), {})[row["model"]] = row
    rows = []
    for (campaign, _), by_model in found.items():
        row = by_model["first"]
        cells = [
            f"{each['energy_bias']:+.2f} ({each['energy_mae']:.2f}), {each['force_mae']:.1f}"
            for each in (by_model[name] for name in ("first", "own", "last"))
        ]
        rows.append([campaign, f"{row['temperature']:.0f}", str(row["n_frames"]), *cells, f"{row['force_rms']:.0f}"])
    return markdown(heads, rows)


def lattices(size: str) -> str:
    """Lattices at rest of lithium's crystals."""
    return at_rest(kept(size)["lattices"])


def at_rest(found: list[dict[str, Any]]) -> str:
    """Lattices at rest; in brackets the deviation from the reference's, %."""
    by = {(row["by"], row["phase"]): row for row in found}
    rows = []
    for phase in dict.fromkeys(row["phase"] for row in found):
        for name in lengths_of(phase):
            right = by["reference", phase][name]
            cells = [
                f"{by[source, phase][name]:.3f} ({100 * (by[source, phase][name] / right - 1):+.2f} %)"
                for source in ("first", "last")
            ]
            rows.append([f"{phase}, {name}", *cells, f"{right:.3f}"])
    return markdown(["Å", *SOURCES.values()], rows)


def lengths_of(phase: str) -> tuple[str, ...]:
    """Lattice constants that a crystal has."""
    return ("a", "c") if phase in ("9R", "corundum") else ("a",)


def fits(size: str) -> str:
    """Crystals at rest by the last model and by fits to all labels: deviations of lengths from the reference's, %."""
    found = [*kept(size)["lattices"], *kept(size)["fits"]]
    right = {row["phase"]: row for row in found if row["by"] == "reference"}
    lengths = [(phase, name) for phase in right for name in lengths_of(phase)]
    rows = []
    for by in dict.fromkeys(row["by"] for row in found if row["by"] != "reference"):
        of = {row["phase"]: row for row in found if row["by"] == by}
        errors = next(iter(of.values()))
        learned = [
            f"{errors[name]:.{n}f}" if name in errors else "–" for name, n in (("energy_mae", 2), ("force_mae", 0))
        ]
        off = [f"{100 * (of[phase][name] / right[phase][name] - 1):+.2f}" for phase, name in lengths]
        rows.append([SOURCES.get(by, f"a fit of {by}"), *learned, *off])
    return markdown(["", "meV/atom", "meV/Å", *(f"{phase}, {name}" for phase, name in lengths)], rows)


def energies(size: str) -> str:
    """Energies of the crystals at rest above 9R, meV/atom; in brackets the error of the energy itself."""
    by = {(row["by"], row["phase"]): row for row in kept(size)["lattices"]}
    rows = []
    for phase in dict.fromkeys(row["phase"] for row in kept(size)["lattices"]):
        models = [by[source, phase] for source in ("first", "last")]
        cells = [f"{row['above']:.1f} ({row['energy_error']:+.1f})" for row in models]
        rows.append([phase, *cells, f"{by['reference', phase]['above']:.1f}"])
    return markdown(["meV/atom", *SOURCES.values()], rows)


#: fs at 200 K with which each campaign of a crystal begins
SOLID = 500.0


def measures() -> str:
    """The same chain by one Gaussian and by the mixture: labels, those of solid bcc apart, and errors of bcc at the end."""
    heads = ["`uncertainty`", "labels: 9R", "fcc", "bcc", "of these in the solid", "heating"]
    heads += ["solid bcc, own model", "bcc at rest: a, Å", "energy, meV/atom", "CPU, minutes"]
    rows = []
    for name, size in (("`soap`", "gaussian"), ("`mixture`", "quick")):
        found = kept(size)
        of = {row["campaign"].removeprefix("li-"): row for row in found["ancestry"]}
        solid = 1e-3 * (of["bcc"]["chain_time_fs"] + SOLID)
        early = sum(row["campaign"] == "li-bcc" and row["time_ps"] <= solid for row in found["labels"])
        wrong = next(
            row for row in found["errors"] if (row["campaign"], row["stage"], row["model"]) == ("li-bcc", 0, "own")
        )
        rest = {row["by"]: row for row in found["lattices"] if row["phase"] == "bcc"}
        counts = [str(of[part]["n_own_labels"]) if part in of else "–" for part in CRYSTALS]
        rows.append([
            name, *counts[:3], str(early), counts[3], f"{wrong['energy_bias']:+.2f}, {wrong['force_mae']:.0f}",
            f"{rest['last']['a']:.3f} ({rest['reference']['a']:.3f})", f"{rest['last']['energy_error']:+.1f}",
            f"{sum(row['cpu_s'] for row in found['ancestry']) / 60:.0f}",
        ])  # fmt: skip
    return markdown(heads, rows)


def squeezed(size: str) -> str:
    """Perfect bcc by its lattice constant: the reference, what the last model gets wrong, and whether it would ask."""
    heads = [
        "a, Å",
        "reference: energy above the least, meV/atom",
        "pressure, GPa",
        "error of the energy",
        "of the pressure",
    ]
    rows = [
        [f"{row['a']:.3f}", f"{row['energy']:.2f}", f"{row['pressure']:+.2f}", f"{row['energy_error']:+.2f}",
         f"{row['pressure_error']:+.2f}", f"{row['ratio']:.2f}"]
        for row in kept(size)["squeezed"]
    ]  # fmt: skip
    return markdown([*heads, "u/τ"], rows)


def force_fields() -> str:
    """The chain of quick size by the built-in force field, and 9R and bcc by M3GNet."""
    heads = [
        "force field",
        "steps",
        "labels: 9R",
        "fcc",
        "bcc",
        "solid 9R",
        "heated",
        "solid bcc",
        "CPU, minutes",
    ]
    rows = []
    for name, size in (("built-in", "quick"), ("M3GNet, 2 × 32", "m3gnet")):
        found = kept(size)
        of = {row["campaign"].removeprefix("li-"): row for row in found["ancestry"] if row["campaign"] != "li-heating"}
        wrong = {
            (row["campaign"].removeprefix("li-"), row["stage"]): f"{row['energy_bias']:+.2f}, {row['force_mae']:.0f}"
            for row in found["errors"]
            if row["model"] == "own"
        }
        rows.append([
            name, thousands(sum(row["n_steps"] for row in of.values())),
            *(str(of[part]["n_own_labels"]) if part in of else "–" for part in CRYSTALS[:3]),
            *(wrong.get(where, "–") for where in (("9R", 0), ("9R", 1), ("bcc", 0))),
            f"{sum(row['cpu_s'] for row in of.values()) / 60:.0f}",
        ])  # fmt: skip
    return markdown(heads, rows)


def liquid_runs(measured: list[dict[str, Any]]) -> str:
    """A liquid by the last model and by the reference's own dynamics."""
    heads = ["", "frames", "mean T, K", "energy, meV/atom", "first peak of g(r)", "diffusion, 10⁻⁵ cm²/s"]
    rows = []
    for row in measured:
        peak = f"{row['peak_g']:.2f} at {row['peak_r']:.2f} Å"
        cells = [f"{row['temperature']:.0f}", f"{row['energy']:.0f}", peak, f"{1e5 * row['diffusion']:.1f}"]
        rows.append([SOURCES[row["by"]], str(row["n_frames"]), *cells])
    return markdown(heads, rows)


def by_both(size: str, part: str) -> list[dict[str, Any]]:
    """Rows of a part by the reference and by the last model, as far as they were measured."""
    return [row for by in ("reference", "last") for row in kept(size).get(f"{part}_{by}", [])]


def melting_points(size: str) -> str:
    """Where neither crystal nor liquid grows, K, by the number of atoms; and which runs froze and which melted to the end."""
    found = {(row["by"], row["n_atoms"]): row for row in by_both(size, "melting_points")}
    rows = []
    for n in sorted({n for _, n in found}):
        cells = [_melts_at(found[by, n]) if (by, n) in found else "–" for by in ("last", "reference")]
        rows.append([thousands(n), *cells])
    return markdown(["atoms", SOURCES["last"], SOURCES["reference"]], rows)


def _melts_at(row: dict[str, Any]) -> str:
    ends = [
        f"{row[key]:.0f} {what}" for key, what in (("frozen", "froze"), ("molten", "melted")) if row[key] is not None
    ]
    line = (
        []
        if row["temperature"] is None
        else [f"{row['temperature']:.0f} ± {row['uncertainty']:.0f} ({row['n_runs']} runs)"]
    )
    return "; ".join([*line, *ends]) or "no run told"


def coexistence_figure(size: str) -> Figure:
    """Drift of the energy against the temperature, with the lines whose noughts are the melting points."""
    sizes = sorted({row["n_atoms"] for row in by_both(size, "coexistence")})
    figure, axes = stacked(len(sizes), (5.0, 1.1 + 1.7 * len(sizes)), sharex=True)
    styles = {"reference": {"color": "k", "marker": "o"}, "last": {"color": "C3", "marker": "x"}}
    for axis, n in zip(axes, sizes, strict=True):
        for by, style in styles.items():
            rows = [row for row in by_both(size, "coexistence") if (row["by"], row["n_atoms"]) == (by, n)]
            points = [(row["target"], row["drift"]) for row in rows if row["drift"] is not None]
            line = [row for row in by_both(size, "melting_points") if (row["by"], row["n_atoms"]) == (by, n)]
            if not line or not points:
                continue
            axis.plot(*zip(*points, strict=True), ls="none", ms=5, label=SOURCES[by], **style)
            if line[0]["temperature"] is None:
                continue
            ends = [min(row["target"] for row in rows), max(row["target"] for row in rows)]
            drifts = [line[0]["slope"] * (end - line[0]["temperature"]) for end in ends]
            axis.plot(ends, drifts, color=style["color"], lw=0.8)
        axis.axhline(0.0, color="grey", lw=0.8)
        axis.set(ylabel="meV/atom/ps")
        axis.set_title(f"{thousands(n)} atoms", loc="left", fontsize=9)
    axes[-1].set(xlabel="temperature, K")
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def cpu_hours(ancestry: list[dict[str, Any]]) -> str:
    """Processor hours of the chain's campaigns."""
    return f"{sum(row['cpu_s'] for row in ancestry) / 3600:.1f}"


def g_difference(size: str) -> str:
    """Mean difference of both radial distribution functions beyond 2 Å."""
    return f"{kept(size)['liquid'][0]['mean_g_difference']:.3f}"


def course_figure(size: str) -> Figure:
    """Temperature, novelty, displacement with labels, and crystals, on the time axis of the chain."""
    figure, axes = stacked(4, (7.0, 7.0), sharex=True)
    rows, counted = kept(size)["course"], axes[2].twinx()
    for campaign in dict.fromkeys(row["campaign"] for row in rows):
        mine = [row for row in rows if row["campaign"] == campaign]
        times, colour = [row["time_ps"] for row in mine], COLOURS[campaign]
        axes[0].plot(times, [row["temperature"] for row in mine], color=colour, lw=1, label=campaign)
        axes[1].semilogy(times, [row["ratio"] for row in mine], ".", color=colour, ms=3)
        axes[2].plot(times, [row["msd"] for row in mine], color=colour, lw=1)
        at = [row["time_ps"] for row in kept(size)["labels"] if row["campaign"] == campaign]
        before = sum(row["campaign"] != campaign and row["time_ps"] < times[0] for row in kept(size)["labels"])
        steps = [times[0], *at, times[-1]]
        counted.step(
            steps, [before, *(before + n for n in range(1, len(at) + 1)), before + len(at)], "k", where="post", lw=1
        )
        close_packed = [row["fcc"] + row["hcp"] for row in mine]
        axes[3].plot(times, close_packed, color=colour, lw=1)
        axes[3].plot(times, [row["bcc"] for row in mine], color=colour, lw=1, ls="--")
    counted.set_ylabel("labels (black)")
    axes[1].axhline(1.0, color="grey", lw=0.8)
    axes[0].set(ylabel="temperature, K")
    axes[1].set(ylabel="highest u/τ")
    axes[2].set(ylabel="displacement², Å²")
    axes[3].set(
        ylabel="share of atoms:\nfcc + hcp, bcc (dashed)", xlabel="time along the chain, ps", ylim=(-0.03, 1.05)
    )
    axes[0].legend(frameon=False, ncols=4, fontsize=8, loc="upper left")
    axes[0].set_ylim(top=1250)
    return figure


def rdf_figure(size: str) -> Figure:
    """Radial distribution functions of the liquid."""
    figure, (axes,) = stacked(1, (5.0, 3.2))
    rows = kept(size)["rdf"]
    axes.plot(
        [row["r"] for row in rows], [row["reference"] for row in rows], color="k", lw=2.5, alpha=0.35, label="reference"
    )
    axes.plot([row["r"] for row in rows], [row["last"] for row in rows], color="C3", lw=1, label="last model")
    axes.set(xlabel="r, Å", ylabel="g(r)", xlim=(1.5, 8.0))
    axes.legend(frameon=False)
    return figure


def map_figure(size: str) -> Figure:
    """Environments of frames, vacuum crops, crops and substructures in a plane, for each campaign: Figure 2f of the paper."""
    from matplotlib.figure import Figure

    rows = kept(size)["map"]
    campaigns = list(dict.fromkeys(row["campaign"] for row in rows))
    figure = Figure(figsize=(7.5, 7.0), layout="constrained")
    axes = figure.subplots(2, -(-len(campaigns) // 2), squeeze=False).ravel()
    for axis, campaign in zip(axes, campaigns, strict=True):
        for row in (row for row in rows if row["campaign"] == campaign):
            axis.plot(row["x"], row["y"], ls="none", label=row["kind"], **MAPPED[row["kind"]])
        axis.set_title(campaign, loc="left", fontsize=9)
        axis.set(xticks=[], yticks=[], xlabel="first component", ylabel="second component")
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def against_frames() -> str:
    """The same run by substructures and by whole frames: what each labelled, what it cost, and errors of its last model."""
    heads = ["labels are", "labels of the run", "atoms in them", "frames labelled", "label time with the evaluation, s"]
    heads += ["by GPAW's law, h", "solid", "heated"]
    rows = []
    for name, size in (("substructures", "short"), ("whole frames", "frame")):
        [row], labels = kept(size)["ancestry"], kept(size)["labels"]
        distinct = {label["step"]: label for label in labels}.values() if size == "frame" else labels
        atoms = [label["n_atoms"] for label in distinct]
        wrong = [
            f"{each['energy_bias']:+.2f} ({each['energy_mae']:.2f}), {each['force_mae']:.0f}"
            for each in sorted(kept(size)["errors"], key=lambda each: each["stage"])
            if each["model"] == "own"
        ]
        rows.append([
            name, str(len(atoms)), thousands(sum(atoms)), str(row["n_labelled_frames"]), digits(row["label_core_s"], 2),
            digits(sum(map(gpaw_law(), atoms)) / 3600, 2), *wrong,
        ])  # fmt: skip
    return markdown(heads, rows)


TABLES: dict[str, Callable[..., str]] = {
    "measures": lambda _: measures(),
    "force-fields": lambda _: force_fields(),
    "squeezed": squeezed,
    "chain": lambda size: chain(kept(size)["ancestry"]),
    "decline": lambda size: decline(kept(size)["ancestry"], kept(size)["labels"]),
    "errors": lambda size: errors(kept(size)["errors"]),
    "lattices": lattices,
    "energies": energies,
    "fits": fits,
    "liquid": lambda size: liquid_runs(kept(size)["liquid"]),
    "jumps": lambda size: scan_tables.jumps(kept(size)["jumps"]),
    "scan-differences": lambda size: scan_tables.differences(kept(size)["ladder"], kept(size)["jumps"]),
    "melting-points": melting_points,
    "against-frames": lambda _: against_frames(),
}
FIGURES: dict[str, Callable[..., Figure]] = {
    "course": course_figure,
    "rdf": rdf_figure,
    "scan": lambda size: scan_tables.figure(kept(size)["ladder"]),
    "coexistence": coexistence_figure,
    "map": map_figure,
}
VALUES: dict[str, Callable[..., str]] = {
    "cpu-hours": lambda size: cpu_hours(kept(size)["ancestry"]),
    "g-difference": g_difference,
}
