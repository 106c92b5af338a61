"""Accuracy: first and last model against the reference on whole frames, and uncertainty against error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from idealflow.errors import ArtifactError
from idealflow.provenance import Campaign
from idealflow.report.sections.blocks import Block, Section, figure, line, missing, note, numbers, table
from idealflow.report.wording import correlation_words
from idealflow.schemas import EvaluationDoc
from idealflow.wording import counted

__all__ = ["accuracy"]

_BINS = 60
_MODELS = (("first", "@orange", "circle-open"), ("last", "@blue", "triangle-up"))


def accuracy(campaign: Campaign, summary: dict[str, Any]) -> Section:
    """How right the models are: whole frames labelled by the reference, and errors at centres before they were learned.

    Parameters
    ----------
    campaign
        The campaign.
    summary
        What :func:`idealflow.report.summarise` gives for it.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> from idealflow.report import summarise
    >>> campaign = sample_campaign()
    >>> [block["kind"] for block in accuracy(campaign, summarise(campaign)).blocks]
    ['table', 'figure', 'figure', 'figure', 'figure', 'figure', 'figure', 'table']
    """
    section = Section(
        "accuracy",
        "Accuracy",
        f"Errors against the reference, {summary.get('reference') or 'which is not known yet'}.",
    )
    doc = campaign.evaluation()
    if doc is None or not doc.frames:
        why = "No whole frame is labelled yet; the evaluation comes when the schedule is done, or by `idealflow evaluate`."
        if doc is not None and doc.failed:
            why = f"The reference labelled none of the whole frames: {next(iter(doc.failed.values()))}."
        section.add(missing("Whole frames against the reference", why))
    else:
        section.add(_stages(summary), _along(doc, "energy"), _along(doc, "forces"), *_parity(campaign, doc))
    section.add(*_calibration(campaign, summary.get("calibration")))
    return section


def _stages(summary: dict[str, Any]) -> Block:
    columns = [
        ("stage of the schedule", "counted from 0"),
        ("whole frames", "labelled by the reference"),
        ("temperature (K)", "mean that the frames had"),
        ("energy error, first model (meV/atom)", "mean absolute error of the model after the bootstrap"),
        ("energy error, last model (meV/atom)", "mean absolute error of the last model"),
        ("bias of the last model (meV/atom)", "mean signed error: model less reference"),
        ("force error, first model (meV/Å)", "mean absolute error of the force components"),
        ("force error, last model (meV/Å)", "mean absolute error of the force components"),
    ]
    names = ("stage", "n_frames", "temperature", "energy_mae_first_meV_per_atom", "energy_mae_last_meV_per_atom",
             "energy_me_last_meV_per_atom", "force_mae_first_meV_per_A", "force_mae_last_meV_per_A")  # fmt: skip
    rows = [[entry[name] for name in names] for entry in summary.get("evaluation", [])]
    of = summary.get("evaluation_version")
    hint = f"Whole frames drawn evenly from the trajectory. The last model here is version {of}."
    if of != summary.get("model_version"):
        hint += f" The present one is version {summary.get('model_version')}: `idealflow evaluate` compares it."
    return table("Whole frames against the reference", hint, columns, rows)


def _along(doc: EvaluationDoc, what: str) -> Block:
    frames = sorted(doc.frames, key=lambda frame: frame.step)
    traces = []
    for name, colour, symbol in _MODELS:
        if what == "energy":
            errors = [abs(getattr(f, f"energy_{name}") - f.energy_reference) / f.n_atoms for f in frames]
        else:
            errors = [getattr(frame, f"force_mae_{name}") for frame in frames]
        label = f"{name} model (mean {1e3 * float(np.mean(errors)):.3g})"
        marker = {"symbol": symbol, "size": 7, "color": colour}
        trace = line([frame.step for frame in frames], 1e3 * np.array(errors), label, colour, marker=marker)
        traces.append(trace | {"mode": "lines+markers"})
    title = "Energy error along the trajectory" if what == "energy" else "Force error along the trajectory"
    unit = "energy error (meV/atom)" if what == "energy" else "force error (meV/Å)"
    hint = "Mean absolute error on each whole frame, of the model after the bootstrap and of the last one."
    return figure(f"errors-{what}", title, hint, traces, "MD step", unit, yaxis={"rangemode": "tozero"})


def _parity(campaign: Campaign, doc: EvaluationDoc) -> list[Block]:
    try:
        with np.load(campaign.fetch(doc.parity), allow_pickle=False) as data:
            energies, forces = (np.asarray(data[name], dtype=np.float64) for name in ("energies", "forces"))
    except ArtifactError as error:
        return [missing("Parity", f"Its file cannot be read: {error}.")]
    return [_energies(energies), *(_forces(forces, column, name) for column, name in ((1, "first"), (2, "last")))]


def _energies(values: NDArray[np.float64]) -> Block:
    traces = [_diagonal(values)]
    for column, (name, colour, symbol) in enumerate(_MODELS, start=1):
        marker = {"symbol": symbol, "size": 8, "color": colour}
        point = {"type": "scatter", "mode": "markers", "name": f"{name} model", "marker": marker}
        traces.append(point | {"x": numbers(values[:, 0], "f8"), "y": numbers(values[:, column], "f8")})
    hint = "One point a whole frame; on the diagonal model and reference agree."
    return figure("parity-energy", "Energies of whole frames", hint, traces, "reference (eV/atom)", "model (eV/atom)")


def _forces(values: NDArray[np.float64], column: int, name: str) -> Block:
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    edges = np.linspace(low, high if high > low else low + 1e-3, _BINS + 1)
    counts, _, _ = np.histogram2d(values[:, column], values[:, 0], bins=(edges, edges))
    middles = 0.5 * (edges[1:] + edges[:-1])
    error = 1e3 * float(np.nanmean(np.abs(values[:, column] - values[:, 0])))
    with np.errstate(divide="ignore"):
        shown = np.log10(counts)
    ticks = list(range(int(np.floor(np.log10(max(counts.max(), 1)))) + 1))
    cells = {
        "type": "heatmap", "x": numbers(middles), "y": numbers(middles), "z": numbers(shown), "colorscale": "@heat",
        "hoverongaps": False, "showlegend": False, "hovertemplate": "reference %{x:.2f}, model %{y:.2f} eV/Å<extra></extra>",
        "colorbar": {"title": {"text": "components"}, "tickvals": ticks, "ticktext": [str(10**t) for t in ticks],
                     "thickness": 12},
    }  # fmt: skip
    hint = f"Force components of whole frames: mean absolute error {error:.3g} meV/Å. The colour counts them, logarithmically."
    title = f"Forces, {name} model"
    traces = [cells, _diagonal(np.array([[low], [high]])) | {"showlegend": False}]
    return figure(f"parity-forces-{name}", title, hint, traces, "reference (eV/Å)", "model (eV/Å)")


def _diagonal(values: NDArray[np.float64]) -> dict[str, Any]:
    ends = [float(np.nanmin(values)), float(np.nanmax(values))]
    return line(ends, ends, "model = reference", "@grey", line={"dash": "dot"}) | {"hoverinfo": "skip"}


def _calibration(campaign: Campaign, found: dict[str, Any] | None) -> list[Block]:
    title = "Uncertainty against force error"
    rows = campaign.calibration_rows(recompute=False) if found else []
    if found and not rows:  # of an earlier version, whose errors the summary was asked to compute
        rows = campaign.calibration_rows(recompute=True)
    rows = [row for row in rows if np.isfinite(row["force_error"])]
    if not found or not rows:
        return [missing(title, "No label is learned yet whose error before learning is stored.")]
    shown = correlation_words(found["rank_correlation"], found["n"])
    points = {
        "type": "scatter", "mode": "markers", "name": "labelled centres", "marker": {"color": "@blue", "size": 6, "opacity": 0.7},
        "x": numbers([row["ratio"] for row in rows]), "y": numbers([1e3 * row["force_error"] for row in rows]),
        "text": [f"step {row['step']}, atom {row['atom']}" for row in rows],
        "hovertemplate": "%{text}: %{y:.0f} meV/Å<extra></extra>",
    }  # fmt: skip
    hint = (
        "At each labelled centre: uncertainty over threshold, and the force error of the model before it "
        f"learned the label. Spearman's rank correlation is {shown} over {counted(found['n'], 'centre')}: 1 means that the most "
        "uncertain atoms are the most wrong."
    )
    drawn = figure("calibration", title, hint, [points], "uncertainty / threshold", "force error (meV/Å)",
                   xaxis={"type": "log"}, yaxis={"rangemode": "tozero"})  # fmt: skip
    bins = [
        [f"≥ {e['from']:g}" if e["to"] is None else f"{e['from']:g} to {e['to']:g}", e["n"], e["force_error_meV_per_A"]]
        for e in found["bins"]
    ]
    columns = [
        ("uncertainty / threshold", "of the centre, in the frame"),
        ("labelled centres", "in this range"),
        ("mean force error (meV/Å)", "before the label was learned"),
    ]
    warned = note(f"{found['warning']}.", warning=True) if found["warning"] else None
    return [block for block in (warned, drawn, table("The same, by ranges", "", columns, bins)) if block is not None]
