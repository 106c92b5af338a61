"""Learning: uncertainty against the threshold, labels levelling off, rounds, errors of updates."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from idealflow.provenance import Campaign
from idealflow.report.sections.blocks import Block, Section, figure, line, missing, numbers, table

__all__ = ["learning"]

#: names of the page's colours, in the order in which lines take them
CYCLE = ("@blue", "@orange", "@green", "@red", "@purple", "@sky")
_SCREEN = ("round", "walker", "step", "threshold", "max_uncertainty", "n_uncertain", "n_triggering", "centres")
_UPDATE = ("round", "decision", "reason", "accepted", "failed", "version_after", "held_out_before", "held_out_after")


def learning(campaign: Campaign) -> Section:
    """How the campaign learned: what triggered, what was labelled, what the updates did.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> [block["title"] for block in learning(sample_campaign()).blocks][:2]
    ['Highest uncertainty of each screened frame', 'Labels asked for']
    """
    section = Section(
        "learning",
        "Learning",
        "An atom asks for a label when its uncertainty exceeds the threshold and nothing learned covers it. "
        "As the model comes to know the system, labels level off.",
    )
    log = campaign.log()
    updates = sorted(campaign.outputs("update", _UPDATE), key=lambda output: output["round"])
    labelled = campaign.outputs("substructure", ("walker", "step", "state"))
    steps = [entry["step"] for entry in labelled if entry["state"] == "accepted"]
    section.add(_uncertainty(campaign, log), _labels(log, steps), _rounds(updates), _held_out(updates))
    section.add(_per_frame(labelled), _consolidations(campaign))
    return section


def _uncertainty(campaign: Campaign, log: pd.DataFrame) -> Block:
    title = "Highest uncertainty of each screened frame"
    screened = log[np.isfinite(log["max_uncertainty"])] if len(log) else log
    if screened.empty:
        return missing(title, "No frame is screened yet: the figure appears with the first MD segment that screens.")
    screens = campaign.outputs("screen", _SCREEN)
    threshold = screens[-1]["threshold"] if screens else getattr(campaign.state(), "threshold", None)
    rows = screened.groupby(["walker", "step"], as_index=False)["max_uncertainty"].last()
    # the same frame is screened again after every update: what it was when first met is what triggered
    first: dict[tuple[int, int], dict[str, Any]] = {}
    for screen in sorted(screens, key=lambda entry: entry["round"]):
        first.setdefault((screen["walker"], screen["step"]), screen)
    met = [(step, screen["centres"][0]["uncertainty"]) for (_, step), screen in first.items() if screen["centres"]]
    traces, several = [], rows["walker"].nunique() > 1
    for walker in sorted(set(rows["walker"].astype(int))):
        part = rows[rows["walker"] == walker]
        name = f"highest of the frame, walker {walker}" if several else "highest of the frame"
        traces.append(line(part["step"], part["max_uncertainty"], name, CYCLE[walker % len(CYCLE)]))
    if threshold is not None:
        over = rows[rows["max_uncertainty"] > threshold]
        covered = _points(over["step"], over["max_uncertainty"], "over the threshold, but covered", "@grey", "x")
        covered["marker"] |= {"size": 5, "opacity": 0.7}
        traces.append(covered)
    if met:
        where, values = [step for step, _ in met], [value for _, value in met]
        traces.append(_points(where, values, "highest uncovered: triggers", "@red", "diamond"))
    if threshold is not None:
        ends = [rows["step"].min(), rows["step"].max()]
        style = {"dash": "dash", "width": 2}
        traces.append(line(ends, [threshold] * 2, f"threshold {threshold:.3g}", "@orange", line=style))
    infinite = int(np.isinf(log["max_uncertainty"]).sum())
    hint = (
        "1 is the mean over what the model knows; the axis is logarithmic. Diamonds: the highest uncovered "
        "uncertainty of frames that "
        "triggered, when they were first met. Crosses: after learning, or at once, every atom over the "
        "threshold is covered by what is "
        "learned, and the dynamics goes on."
    )
    if infinite:
        hint += f" {infinite} frames held a species never seen, whose uncertainty is infinite; they are not drawn."
    return figure("uncertainty", title, hint, traces, "MD step", "uncertainty (1 = known)", yaxis={"type": "log"})


def _labels(log: pd.DataFrame, steps: list[int]) -> Block:
    title = "Labels asked for"
    if not steps:
        return missing(title, "No substructure is labelled yet.")
    last = max(int(log["step"].max()) if len(log) else 0, *steps)
    traces = []
    for values, name, colour in ((np.sort(steps), "substructures", "@blue"), (np.unique(steps), "frames", "@orange")):
        x, y = np.concatenate([[0], values, [last]]), np.concatenate([np.arange(len(values) + 1), [len(values)]])
        traces.append(line(x, y, f"{name} ({len(values)})", colour, line={"shape": "hv"}))
    hint = "Labelled so far, against the MD step that asked for it. A plateau means that the model knows what it meets."
    return figure("labels", title, hint, traces, "MD step", "labelled so far", yaxis={"rangemode": "tozero"})


def _rounds(updates: list[dict[str, Any]]) -> Block:
    title = "Labels of each round"
    if not updates:
        return missing(title, "No round has ended yet.")
    rounds = [update["round"] for update in updates]
    traces = [
        _bars(rounds, [len(update["accepted"]) for update in updates], "accepted", "@blue"),
        _bars(rounds, [len(update["failed"]) for update in updates], "failed", "@red", pattern="/"),
    ]
    rejected = [update["round"] for update in updates if update["decision"] == "rejected"]
    if rejected:
        traces.append(_points(rejected, [0] * len(rejected), "update rejected", "@orange", "triangle-up"))
    hint = "A round runs dynamics until a frame triggers, labels, and updates the model. Failed: every attempt counted."
    most = max(len(update["accepted"]) + len(update["failed"]) for update in updates)
    layout: dict[str, Any] = {"barmode": "stack", "yaxis": {"rangemode": "tozero", **_whole_numbers(most)}}
    return figure("rounds", title, hint, traces, "round", "labels", **layout)


def _held_out(updates: list[dict[str, Any]]) -> Block:
    title = "Force error on held-out structures"
    known = [update for update in updates if update.get("held_out_before") and update.get("held_out_after")]
    if not known:
        return missing(title, "No update has structures held out from training to be judged by yet.")
    rounds = [update["round"] for update in known]
    traces = []
    for name, label, colour, symbol in (
        ("held_out_before", "before the update", "@orange", "circle-open"),
        ("held_out_after", "after", "@blue", "triangle-up"),
    ):
        values = [1e3 * update[name]["forces"] for update in known]
        traces.append(_points(rounds, values, label, colour, symbol) | {"mode": "lines+markers"})
    hint = (
        "Mean absolute error of the force components, before and after each update, on structures that training leaves out. "
        "An update that makes it much worse is rejected."
    )
    return figure("held-out", title, hint, traces, "round", "force error (meV/Å)", yaxis={"rangemode": "tozero"})


def _consolidations(campaign: Campaign) -> Block | None:
    """Where all data were learned together; nothing where they never were."""
    found = campaign.outputs(
        "consolidation", ("round", "decision", "reason", "n_structures", "steps", "held_out_before", "held_out_after")
    )
    if not found:
        return None
    columns = [
        ("round", ""),
        ("what became of it", ""),
        ("structures", "learned together"),
        ("training steps", ""),
        ("force error before (meV/Å)", "on all structures kept out of training"),
        ("force error after (meV/Å)", "on the same"),
        ("why", ""),
    ]
    rows = [
        [one["round"], one["decision"], one["n_structures"], one["steps"], *(
            None if one[name] is None else 1e3 * one[name]["forces"] for name in ("held_out_before", "held_out_after")
        ), one["reason"]]
        for one in sorted(found, key=lambda one: one["round"])
    ]  # fmt: skip
    hint = "From time to time the model learns all labels together, and keeps the result if it is better."
    return table("All data learned together", hint, columns, rows)


def _per_frame(labelled: list[dict[str, Any]]) -> Block:
    title = "Substructures of each labelled frame (L)"
    frames = Counter((entry["walker"], entry["step"]) for entry in labelled if entry["state"] == "accepted")
    if not frames:
        return missing(title, "No substructure is labelled yet.")
    sizes = Counter(frames.values())
    x = range(1, max(sizes) + 1)
    mean = sum(frames.values()) / len(frames)
    trace = _bars(list(x), [sizes.get(size, 0) for size in x], "frames", "@blue")
    hint = f"How many substructures were labelled in one frame. Their mean, {mean:.2f}, is the L of the acceleration below."
    return figure("per-frame", title, hint, [trace], "substructures in the frame", "frames", xaxis={"dtick": 1},
                  yaxis=_whole_numbers(max(sizes.values())))  # fmt: skip


def _whole_numbers(most: int) -> dict[str, Any]:
    """Ticks of an axis that counts: none between whole numbers."""
    return {"dtick": 1} if most <= 6 else {}


def _bars(x: Any, y: Any, name: str, colour: str, pattern: str = "") -> dict[str, Any]:
    marker: dict[str, Any] = {"color": colour}
    if pattern:
        marker["pattern"] = {"shape": pattern}
    return {"type": "bar", "name": name, "x": numbers(x), "y": numbers(y), "marker": marker}


def _points(x: Any, y: Any, name: str, colour: str, symbol: str) -> dict[str, Any]:
    marker = {"color": colour, "symbol": symbol, "size": 7}
    return {"type": "scatter", "mode": "markers", "name": name, "x": numbers(x), "y": numbers(y), "marker": marker}
