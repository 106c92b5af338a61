"""Tables of why hot alumina asks for labels, what neutral cells are worth, and of two uncertainties side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from workbench.markdown import markdown

RESULTS = Path(__file__).resolve().parents[1] / "al2o3" / "results"
RUNS = {
    "gaussian": ("`soap`", "crystals"),
    "mixture": ("`mixture`", "crystals"),
    "quick": ("`mixture`", "crystals, then the small cell"),
}
EARLY = 160  # steps that every run of the liquid has
LIQUID_FROM = 500  # step at which the bulk is put to 9 000 K


@cache
def kept(name: str) -> dict[str, Any]:
    """What a script kept, by its parts."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def measures() -> str:
    """The same bulk and particle, run in three ways: labels spent, and errors of the last model in both and elsewhere."""
    heads = [
        "`uncertainty`",
        "before the bulk",
        "labels: small cell",
        "bulk",
        "per 1 000 steps of the liquid",
        "particle",
        "errors: bulk",
        "particle",
        "another particle",
        "CPU-minutes",
    ]
    rows = []
    for name, title in RUNS.items():
        found = kept(name)
        of = {row["campaign"].removeprefix("al2o3-"): row for row in found["ancestry"]}
        at = {
            key: [cell["step"] for cell in found["cells"] if cell["campaign"] == row["campaign"]]
            for key, row in of.items()
        }
        rate = 1000 * len(at["bulk"]) / (of["bulk"]["n_steps"] - LIQUID_FROM)
        by = {(row["campaign"], row["stage"], row["model"]): row for row in found["errors"]}
        shown = [by["al2o3-bulk", 1, "last"], by["al2o3-particle", 0, "last"], found["elsewhere"][-1]]
        wrong = [f"{row['energy_bias']:+.1f}, {row['force_mae']:.0f}" for row in shown]
        spent = sum(row["cpu_s"] for row in found["ancestry"]) / 60
        counts = [str(len(at[key])) if key in at else "–" for key in ("cells", "bulk")]
        rows.append([*title, *counts, f"{rate:.0f}", str(len(at["particle"])), *wrong, f"{spent:.0f}"])
    return markdown(heads, rows)


def labels() -> str:
    """What the labels of a campaign were, a third of them a row."""
    heads = [
        "labels",
        "steps",
        "u/τ, median",
        "error at the centre before",
        "after",
        "in the whole cell before",
        "after",
        "nearest label before: δ/u, median",
        "δ over its reach, least (median)",
    ]
    found = kept("decline")["labels"]
    threshold = kept("decline")["models"][0]["threshold"]
    rows = []
    for part in np.array_split(np.arange(len(found)), 3):
        mine = [found[i] for i in part]
        means = [
            f"{np.mean([row[name] for row in mine]):.2f}"
            for name in ("centre_before", "centre_after", "cell_before", "cell_after")
        ]
        near = [row["nearest"] for row in mine if row["nearest"] is not None]
        reach = [row["reach"] for row in mine if row["reach"] is not None]
        rows.append(
            [
                f"{part[0] + 1}–{part[-1] + 1}",
                f"{mine[0]['step']}–{mine[-1]['step']}",
                f"{np.median([row['uncertainty'] for row in mine]) / threshold:.2f}",
                *means,
                f"{np.median(near):.2f}",
                f"{min(reach):.2f} ({np.median(reach):.2f})",
            ]
        )
    return markdown(heads, rows)


def models() -> str:
    """How new and how wrong the same liquid is to the models of a campaign."""
    heads = [
        "model",
        "labels",
        "mean u",
        "above τ",
        "`auto` would be",
        "force error, mean",
        "99 %",
        "at u below 1",
        "2 to 4",
        "above 8",
    ]
    rows = []
    for row in kept("decline")["models"]:
        bins = [_error(row["bins"], picked) for picked in ((0,), (2,), (4, 5))]
        rows.append(
            [
                str(row["version"]),
                str(row["n_labels"]),
                f"{row['u']:.2f}",
                f"{100 * row['above']:.2f} %",
                f"{row['auto']:.1f}",
                f"{row['error']:.2f}",
                f"{row['p99']:.2f}",
                *bins,
            ]
        )
    return markdown(heads, rows)


def _error(bins: list[dict[str, Any]], picked: tuple[int, ...]) -> str:
    """Mean error of the atoms in some bins."""
    some = [bins[i] for i in picked if bins[i]["n"]]
    if not some:
        return "–"
    return f"{sum(each['n'] * each['error'] for each in some) / sum(each['n'] for each in some):.2f}"


def curve() -> str:
    """What a model learns from some labels."""
    rows = [[row["learned"], f"{row['mean']:.2f}", f"{row['p99']:.2f}"] for row in kept("decline")["curve"]]
    return markdown(["learned, beside the first set", "force error, mean, eV/Å", "99 %"], rows)


def firsts() -> str:
    """How new and how wrong the liquid is to models of other first sets."""
    rows = [
        [
            row["set"],
            str(row["n"]),
            f"{row['threshold']:.1f}",
            f"{row['u']:.2f}",
            f"{100 * row['above']:.2f} %",
            f"{row['error']:.2f}",
            f"{row['p99']:.2f}",
        ]
        for row in kept("decline")["firsts"]
    ]
    return markdown(["first set", "cells of 30", "τ", "mean u", "above τ", "force error, mean, eV/Å", "99 %"], rows)


def after() -> str:
    """Labels and errors of the liquid in runs by the mixture, begun with crystals, or after the small cell."""
    heads = [
        "atoms",
        "before",
        "steps at 9 000 K",
        "labels",
        f"in the first {EARLY} steps",
        "per 1 000 steps",
        "atoms of a cell",
        "cost",
        "energy",
        "forces",
    ]
    rows = [_run(270, name, *_of_chain(run)) for name, run in (("–", "mixture"), ("small cell", "quick"))]
    small = [row["Al"] + row["O"] for row in kept("quick")["cells"] if row["campaign"] == "al2o3-cells"]
    wrong = {(row["began"], row["model"]): row for row in kept("decline")["after_errors"]}
    for row in kept("decline")["after_labels"]:
        name = {"crystals": "–", "cells": "small cell"}[row["began"]]
        rows.append(_run(810, name, row["at"], row["atoms"], row["hot_from"], row["steps"], wrong[row["began"], "own"]))
    rows.append(["30", "(the small cell itself)", "", str(len(small)), "", "", "30", f"{_cost(small):.2f}", "", ""])
    return markdown(heads, rows)


def _of_chain(run: str) -> tuple[list[int], list[int], int, int, dict[str, Any]]:
    """Steps and atoms of the labels of a chain's bulk, its liquid's first and last step, and the errors there."""
    found = kept(run)
    mine = [row for row in found["cells"] if row["campaign"] == "al2o3-bulk"]
    end = next(row["n_steps"] for row in found["ancestry"] if row["campaign"] == "al2o3-bulk")
    wrong = {(row["campaign"], row["stage"], row["model"]): row for row in found["errors"]}["al2o3-bulk", 1, "own"]
    return [row["step"] for row in mine], [row["Al"] + row["O"] for row in mine], LIQUID_FROM, end, wrong


def _run(
    n_atoms: int, name: str, at: list[int], atoms: list[int], start: int, end: int, wrong: dict[str, Any]
) -> list[str]:
    return [
        str(n_atoms),
        name,
        str(end - start),
        str(len(at)),
        str(sum(step <= start + EARLY for step in at)),
        f"{1000 * len(at) / (end - start):.0f}",
        f"{np.median(atoms):.0f}" if atoms else "–",
        f"{_cost(atoms):.1f}",
        f"{wrong['energy_bias']:+.2f} ({wrong['energy_mae']:.2f})",
        f"{wrong['force_mae']:.0f}",
    ]


def _cost(atoms: list[int]) -> float:
    """What labels cost where the cost grows by the third power, in units of one of 225 atoms."""
    return sum(n**3 for n in atoms) / 225**3


def neutrality() -> str:
    """Charge and force errors of cells around the same centres, neutral or not."""
    heads = [
        "cell",
        "",
        "neutral",
        "charge, e, least to most",
        "error at the centre, median",
        "mean",
        "in the core, mean",
    ]
    rows = []
    found = kept("neutrality")["neutrality"]
    for arm in dict.fromkeys(row["arm"] for row in found):
        for how in dict.fromkeys(row["how"] for row in found):
            mine = [row for row in found if (row["arm"], row["how"]) == (arm, how)]
            charges = [row["charge"] for row in mine]
            centre = [1e3 * row["centre"] for row in mine]
            rows.append(
                [
                    arm,
                    how,
                    f"{sum(charge == 0 for charge in charges)} of {len(mine)}",
                    f"{min(charges):+.0f} to {max(charges):+.0f}",
                    f"{np.median(centre):.0f}",
                    f"{np.mean(centre):.0f}",
                    f"{1e3 * np.mean([row['core'] for row in mine]):.0f}",
                ]
            )
    return markdown(heads, rows)


TABLES: dict[str, Callable[..., str]] = {
    "measures": measures,
    "labels": labels,
    "models": models,
    "curve": curve,
    "firsts": firsts,
    "after": after,
    "neutrality": neutrality,
}
