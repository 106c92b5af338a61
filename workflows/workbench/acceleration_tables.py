"""What learning on substructures saved in the systems that were run, beside the paper's Table 4 and Figure S8."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idealflow.report.sections.cost import PAPER
from workbench.front_page import SYSTEMS, System, gpaw_law, stored
from workbench.markdown import digits, markdown, thousands
from workbench.power_law import read

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = list[dict[str, Any]]
WORKFLOWS = Path(__file__).resolve().parents[1]
ALUMINA_FROM = 50_000  # step of 1 fs of its jump
LITHIUM_FROM = 48_000  # step of 1 fs; 2 000 steps before its jump in temperature, as in the trial
BINS = ((1, 1), (2, 2), (3, 3), (4, 10**9))  # substructures of a frame, least and most


def campaigns() -> Iterator[tuple[System, dict[str, Any], Rows]]:
    """Every campaign of the systems: what system it is of, its figures, and its substructures."""
    for system in SYSTEMS:
        found = stored(system.folder, system.size)
        for row in found["ancestry"]:
            yield (
                system,
                row,
                [each for each in found["labels"] if each.get("campaign", row["campaign"]) == row["campaign"]],
            )


def name_of(system: System, row: dict[str, Any]) -> str:
    """What a campaign is called in a table: some are run at two sizes."""
    return f"{row['campaign']}, at the paper's size" if system.size == "paper" else str(row["campaign"])


def accelerations() -> str:
    """Table 4 of the paper for the campaigns whose whole frames were labelled, and the paper's own lines."""
    heads = [
        "campaign",
        "reference",
        "atoms",
        "t_sub, s",
        "t_entire, s",
        "K",
        "K′",
        "L",
        "R_AL",
        "R_FPMD",
        "R_AL by GPAW's law",
    ]
    rows = []
    for system, row, substructures in campaigns():
        if row["t_entire_s"] is None:
            continue
        rows.append([
            name_of(system, row), system.labelled_by, thousands(row["n_atoms"]),
            *(digits(row[name], 2) for name in ("t_sub_s", "t_entire_s")),
            thousands(row["n_steps"]), str(row["n_labelled_frames"]), f"{row['L']:.2f}", digits(row["R_AL"], 2),
            digits(row["R_FPMD"], 2), gain_by_law(row, substructures) if system.lithium else "–",
        ])  # fmt: skip
    for name, values in PAPER.items():
        t_sub, t_entire, n_steps, n_frames, per_frame, gain, gain_md = values
        rows.append([
            f"**{name}**", "VASP, PBE", str(sum(int(n) for n in re.findall(r"\d+", name))), thousands(t_sub), thousands(t_entire),
            thousands(n_steps), thousands(n_frames), f"{per_frame:.3f}", thousands(gain), thousands(gain_md), "–",
        ])  # fmt: skip
    return markdown(heads, rows)


def gain_by_law(row: dict[str, Any], substructures: Rows) -> str:
    """R_AL of a campaign of lithium if every label took what GPAW's law gives; in brackets where that is extrapolated."""
    law = gpaw_law()
    ratio = row["n_labelled_frames"] * law(row["n_atoms"]) / sum(law(each["n_atoms"]) for each in substructures)
    largest = max(entry["n_atoms"] for entry in read(WORKFLOWS / "scaling" / "frames.jsonl"))
    return digits(ratio, 2) if row["n_atoms"] < 1.05 * largest else f"({digits(ratio, 2)})"


def per_frame() -> str:
    """How many substructures the labelled frames had, by the size of the frame: Figure S8 of the paper."""
    heads = ["atoms", "campaign", "frames labelled", "L", "one", "two", "three", "four and more", "most"]
    found = []
    for system, row, substructures in campaigns():
        frames = Counter(each.get("step", each.get("time_ps")) for each in substructures)
        found.append((row["n_atoms"], name_of(system, row), list(frames.values())))
    million = json.loads((WORKFLOWS / "benchmarks" / "results" / "million_atoms.json").read_text())
    by_step: Counter[int] = Counter()
    for each in million["rounds"]:
        by_step[each["steps"][1]] += each["labels"]
    found.append((million["campaign"]["n_atoms"], "a copper polycrystal", [n for n in by_step.values() if n]))
    rows = [
        [thousands(n), campaign, *spread(counts)] for n, campaign, counts in sorted(found, key=lambda each: each[0])
    ]
    return markdown(heads, rows)


def spread(counts: list[int]) -> list[str]:
    """Cells of a row: how many frames were labelled, their substructures' mean, their shares by :data:`BINS`, and the most."""
    share = [100 * sum(lowest <= n <= most for n in counts) / len(counts) for lowest, most in BINS]
    return [
        str(len(counts)), f"{sum(counts) / len(counts):.2f}", *(f"{each:.0f} %" for each in share), str(max(counts)),
    ]  # fmt: skip


def sizes() -> str:
    """One crystal heated in the same way at several sizes (`li_melting/sizes.py`)."""
    heads = ["atoms", "labels", "frames labelled", "L", "one", "two", "three", "four and more", "most"]
    rows = [
        [thousands(row["n_atoms"]), str(sum(row["per_frame"])), *spread(row["per_frame"])]
        for row in stored("li_melting", "sizes")["rows"]
    ]
    return markdown(heads, rows)


def sizes_figure() -> Figure:
    """Share of the labelled frames that had at most so many substructures, by the size of the frame."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, row in enumerate(stored("li_melting", "sizes")["rows"]):
        counts = sorted(row["per_frame"])
        shares = [(place + 1) / len(counts) for place in range(len(counts))]
        axes.step(
            [0, *counts], [0.0, *shares], where="post", color=f"C{number}", label=f"{thousands(row['n_atoms'])} atoms"
        )
    axes.set(xlabel="substructures of a frame", ylabel="share of labelled frames", ylim=(0.0, 1.02))
    axes.legend(frameon=False)
    return figure


def efficiency(way: str, workers: str) -> str:
    """Share of the workers' time that labels took (`benchmarks/parallel_labels.py`)."""
    kept = json.loads((WORKFLOWS / "benchmarks" / "results" / "parallel_labels.json").read_text())
    return f"{100 * next(row['efficiency'] for row in kept[way] if row['workers'] == int(workers)):.0f}"


@dataclass(frozen=True)
class Labels:
    """Labels that a system asked for in its trial, by the first version and the defaults, and now.

    Attributes
    ----------
    name, n_atoms
    trial : labels and steps of the trial
    at : steps of the labels now, from where they are counted
    n_steps : now
    """

    name: str
    n_atoms: int
    trial: tuple[int, int]
    at: list[float]
    n_steps: int


def counted_labels() -> list[Labels]:
    """The three systems of the trial, now by the settings of their pages."""
    lithium = stored("li_melting", "paper")
    crystal = lithium["ancestry"][0]
    times = [1000 * row["time_ps"] for row in lithium["labels"] if row["campaign"] == crystal["campaign"]]
    alumina = stored("al2o3", "paper")
    bulk = next(row for row in alumina["ancestry"] if row["campaign"] == "al2o3-bulk")
    steps = [row["step"] for row in alumina["labels"] if row["campaign"] == bulk["campaign"]]
    iridium = stored("haber_bosch", "paper")
    return [
        Labels(
            "lithium, 9R: 2 ps at 200 K, then 800 K", 504, (131, 5100),
            [time - LITHIUM_FROM for time in times if time >= LITHIUM_FROM], crystal["n_steps"] - LITHIUM_FROM,
        ),
        Labels(
            "alumina from its jump to 9 000 K on, after the small cell", 810, (3, 10),
            [step - ALUMINA_FROM for step in steps if step >= ALUMINA_FROM], bulk["n_steps"] - ALUMINA_FROM,
        ),
        Labels(
            "Ir₂₀₁ in gas at 1 200 K, a warm first set", 421, (53, 140),
            [cell["step"] for cell in iridium["cells"] if cell["campaign"] == iridium["ancestry"][0]["campaign"]],
            iridium["ancestry"][0]["n_steps"],
        ),
    ]  # fmt: skip


def labels_before_and_now() -> str:
    """Labels for each 1 000 steps, in the trial and now, and how they decline."""
    heads = [
        "", "atoms", "trial: labels in steps", "per 1 000", "now: labels in steps", "per 1 000", "in as many steps as the trial",
        "per 1 000, first half", "last quarter",
    ]  # fmt: skip
    rows = []
    for each in counted_labels():
        n, steps = each.trial
        halves = [
            1000
            * sum(begin * each.n_steps <= at <= end * each.n_steps for at in each.at)
            / ((end - begin) * each.n_steps)
            for begin, end in ((0.0, 0.5), (0.75, 1.0))
        ]
        rows.append([
            each.name, str(each.n_atoms), f"{n} in {thousands(steps)}", f"{1000 * n / steps:.0f}",
            f"{len(each.at)} in {thousands(each.n_steps)}", digits(1000 * len(each.at) / each.n_steps),
            str(sum(at <= steps for at in each.at)), *(digits(rate) if rate else "0" for rate in halves),
        ])  # fmt: skip
    return markdown(heads, rows)


TABLES: dict[str, Callable[[], str]] = {
    "systems": accelerations, "per-frame": per_frame, "sizes": sizes, "labels": labels_before_and_now,
}  # fmt: skip
FIGURES: dict[str, Callable[[], Figure]] = {"sizes": sizes_figure}
