"""Cost: what learning on substructures saved, how each number came about, and where the time went."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from idealflow.provenance import Campaign
from idealflow.report.sections.blocks import Block, Section, figure, missing, numbers, table, written

__all__ = ["PAPER", "cost"]

#: kind of document → the stage in words
_STAGES = {
    "bootstrap": "first model",
    "segment": "molecular dynamics",
    "screen": "screening",
    "crop": "crop search",
    "relaxation": "relaxation",
    "substructure": "labels of substructures",
    "update": "model updates",
    "consolidation": "learning all data together",
    "relabel": "labelling again",
    "evaluation": "evaluation",
}

#: Table 4 of Kong et al.: t_sub (s), t_entire (s), K, K', L, R_AL, R_FPMD
PAPER = {
    "paper, Li512": (59.0, 290_828.0, 100_000, 901, 1.104, 4463.0, 495_904.0),
    "paper, Al324O486": (236.0, 2_777_675.0, 100_000, 1922, 1.185, 9930.0, 516_673.0),
}


def cost(campaign: Campaign, summary: dict[str, Any]) -> Section:
    """What the campaign cost, by stage, and its acceleration with the paper's beside it.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> from idealflow.report import summarise
    >>> campaign = sample_campaign()
    >>> [block["title"] for block in cost(campaign, summarise(campaign)).blocks]
    ['Acceleration', 'Time by stage', 'Label time against size']
    """
    about = "What labelling small cells saves against labelling whole frames, and where the time went."
    section = Section("cost", "Cost", about)
    section.add(_acceleration(summary), _by_stage(campaign), _by_size(campaign))
    return section


def _acceleration(summary: dict[str, Any]) -> Block:
    own = [
        summary.get(name) for name in ("t_sub_s", "t_entire_s", "n_steps", "n_labelled_frames", "L", "R_AL", "R_FPMD")
    ]
    method = summary.get("t_entire_method", "not measured yet")
    described = (
        ("label of a substructure, t_sub (s)", "mean wall time of the accepted labels"),
        ("label of a whole frame, t_entire (s)", f"here {method}; in the paper one VASP calculation of the whole cell"),
        ("MD steps made, K", "of all walkers"),
        ("labelled frames, K′", "distinct frames with at least one accepted label; the bootstrap's do not count"),
        ("substructures of a labelled frame, L", "accepted substructures / K′"),
        ("speed-up over conventional active learning, R_AL", "t_entire / (t_sub · L): that would label the whole frame instead"),
        ("speed-up over first-principles MD, R_FPMD", "K · t_entire / (K′ · t_sub · L): that would compute every step"),
    )  # fmt: skip
    rows = [
        [name, written(own[i]), *(written(values[i]) for values in PAPER.values()), how]
        for i, (name, how) in enumerate(described)
    ]
    hint = (
        "Beside it Table 4 of the paper. Engines, systems and machines differ: compare how the numbers come "
        "about, not their size. Where a "
        "whole frame costs no more than its substructures, as with a classical potential in place of DFT, nothing is gained."
    )
    columns = [("", ""), ("this campaign", ""), *((name, "Kong et al., Table 4") for name in PAPER), ("how", "")]
    return table("Acceleration", hint, columns, rows)


def _by_stage(campaign: Campaign) -> Block:
    seconds: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for kind in _STAGES:
        for output in campaign.outputs(kind, ("seconds", "reused_from")):
            if not output.get("reused_from"):  # a stored label that answered again cost nothing
                seconds[kind] += float(output["seconds"])
                counts[kind] += 1
    shown = [kind for kind in reversed(_STAGES) if counts[kind]]
    if not shown:
        return missing("Time by stage", "No stage has ended yet.")
    trace = {
        "type": "bar", "orientation": "h", "marker": {"color": "@blue"}, "x": numbers([seconds[kind] for kind in shown]),
        "y": [_STAGES[kind] for kind in shown],
        "text": [f"{counts[kind]} × {_time(seconds[kind] / counts[kind])}" for kind in shown],
        "hovertemplate": "%{y}: %{x:.4g} s, %{text}<extra></extra>", "showlegend": False,
    }  # fmt: skip
    hint = "Wall time of all jobs of each kind, one after the other; the bars name how many there were, and their mean time."
    return figure("stages", "Time by stage", hint, [trace], "time (s)", "", yaxis={"automargin": True})


def _by_size(campaign: Campaign) -> Block:
    title = "Label time against size"
    labels = campaign.outputs("substructure", ("n_atoms", "seconds", "reused_from"), state="accepted")
    labels = [label for label in labels if not label.get("reused_from")]
    whole = campaign.outputs(
        "label", ("n_atoms", "seconds", "reused_from", "origin"), origin="evaluation", state="accepted"
    )
    whole = [label for label in whole if not label.get("reused_from")]
    if not labels:
        return missing(title, "No substructure is labelled yet.")
    traces = []
    for some, name, colour, symbol in (
        (labels, "substructures", "@blue", "circle"),
        (whole, "whole frames", "@orange", "square"),
    ):
        if some:
            traces.append({
                "type": "scatter", "mode": "markers", "name": name,
                "marker": {"color": colour, "symbol": symbol, "size": 6, "opacity": 0.7},
                "x": numbers([label["n_atoms"] for label in some]), "y": numbers([label["seconds"] for label in some]),
            })  # fmt: skip
    hint = f"Wall time of each label. Substructures have {_range([label['n_atoms'] for label in labels])} atoms."
    return figure("label-time", title, hint, traces, "atoms", "time (s)", yaxis={"rangemode": "tozero"})


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min"


def _range(values: list[int]) -> str:
    low, high = int(np.min(values)), int(np.max(values))
    return str(low) if low == high else f"{low} to {high}"
