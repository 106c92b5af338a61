"""The report: figures of a campaign, and one page that holds them."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms

from idealflow.analysis import msd, rdf
from idealflow.core import Trajectory
from idealflow.provenance import Campaign
from idealflow.report.figures import (
    frame_errors_figure,
    labels_figure,
    msd_figure,
    parity_figure,
    rdf_figure,
    temperature_figure,
    uncertainty_figure,
)
from idealflow.report.summary import summarise, too_few_line
from idealflow.schemas import Artifact
from idealflow.storage import replacing

__all__ = ["write_report"]

_RDF_FRAMES = 8
_RDF_R_MAX = 8.0
_MOST_ATOM_FRAMES = 4_000_000  # atoms × frames of the trajectory that figures look at

Fetch = Callable[[Artifact], Path]


def write_report(campaign: Campaign, fetch: Fetch, page: Path, figures: Path) -> Path:
    """Write the figures as PNG files, and one self-contained page with summary, figures and the table of labels.

    Parameters
    ----------
    campaign
        What to report.
    fetch
        Gives the local path of an artifact.
    page
        HTML file to write.
    figures
        Folder for the PNG files.

    Returns
    -------
    Path
        ``page``.
    """
    figures.mkdir(parents=True, exist_ok=True)
    summary = summarise(campaign, recompute=True)
    drawn = [
        *_learning_figures(campaign, figures, summary),
        *_trajectory_figures(campaign, fetch, figures),
        *_evaluation_figures(campaign, fetch, figures),
    ]
    text = rendered(summary, drawn, campaign.table())
    with replacing(page) as draft:
        draft.write_text(text, encoding="utf-8")
    return page


def _learning_figures(campaign: Campaign, figures: Path, summary: dict[str, Any]) -> list[tuple[str, Path]]:
    log = campaign.log()
    if log.empty:
        return []
    accepted = campaign.substructures(state="accepted")
    steps = [doc.step for doc in accepted]
    drawn = [("Temperature", temperature_figure(log, figures / "temperature.png"))]
    screened = log[np.isfinite(log["first_uncertainty"])]
    if len(screened) and summary.get("uncertainty_threshold"):
        shown = screened.assign(max_uncertainty=screened["first_uncertainty"])
        path = uncertainty_figure(
            shown, figures / "uncertainty.png", threshold=summary["uncertainty_threshold"], label_steps=steps
        )
        drawn.insert(0, ("Highest uncertainty of each screened frame, as first met", path))
    if steps:
        path = labels_figure(steps, figures / "labels.png", n_steps=int(log["step"].max()))
        drawn.insert(1, ("Labels asked for", path))
    return drawn


def _trajectory_figures(campaign: Campaign, fetch: Fetch, figures: Path) -> list[tuple[str, Path]]:
    frames = _frames(campaign, fetch)
    if len(frames) < 2:
        return []
    time = np.array([atoms.info["time"] for atoms in frames])
    positions = np.array([atoms.positions for atoms in frames])
    symbols = np.array(frames[0].get_chemical_symbols())
    curves = {species: msd(positions, atoms=symbols == species) for species in sorted(set(symbols))}
    drawn = [("Mean squared displacement", msd_figure(time - time[0], curves, figures / "msd.png"))]
    n = min(_RDF_FRAMES, len(frames) // 2)
    radial = {}
    for name, part in (("start", frames[1 : n + 1]), ("end", frames[-n:])):
        curve = rdf(part, _RDF_R_MAX)
        radial[name] = (curve.r, curve.g)
    drawn.append(("Radial distribution, first and last frames", rdf_figure(radial, figures / "rdf.png")))
    return drawn


def _evaluation_figures(campaign: Campaign, fetch: Fetch, figures: Path) -> list[tuple[str, Path]]:
    doc = campaign.evaluation()
    if doc is None or not doc.frames:
        return []
    with np.load(fetch(doc.parity), allow_pickle=False) as data:
        energies, forces = (
            pd.DataFrame(data[name], columns=["reference", "first", "last"]) for name in ("energies", "forces")
        )
    table = pd.DataFrame(
        {
            "step": [frame.step for frame in doc.frames],
            "energy_first": [abs(frame.energy_first - frame.energy_reference) / frame.n_atoms for frame in doc.frames],
            "energy_last": [abs(frame.energy_last - frame.energy_reference) / frame.n_atoms for frame in doc.frames],
            "force_first": [frame.force_mae_first for frame in doc.frames],
            "force_last": [frame.force_mae_last for frame in doc.frames],
        }
    )
    parity = parity_figure(energies, forces, figures / "parity.png", reference=doc.method, n_frames=len(doc.frames))
    errors = frame_errors_figure(table, figures / "errors.png", reference=doc.method)
    return [
        ("First and last model against the reference, whole frames", parity),
        ("Errors along the trajectory", errors),
    ]


def _frames(campaign: Campaign, fetch: Fetch) -> list[Atoms]:
    """Walker 0's frames in order, thinned evenly so that figures stay affordable for large systems."""
    found: dict[int, Atoms] = {}
    segments = [doc for doc in campaign.segments(walker=0) if doc.trajectory is not None]
    state = campaign.state()
    stored = sum(len(Trajectory(fetch(doc.trajectory))) for doc in segments if doc.trajectory is not None)
    stride = 1 if state is None else max(1, -(-stored * state.n_atoms // _MOST_ATOM_FRAMES))
    for doc in segments:
        if doc.trajectory is not None:
            for number, atoms in enumerate(Trajectory(fetch(doc.trajectory))):
                if number % stride == 0:
                    found[int(atoms.info["step"])] = atoms
    return [found[step] for step in sorted(found)]


def rendered(summary: dict[str, Any], drawn: list[tuple[str, Path]], table: pd.DataFrame) -> str:
    """The page's HTML from a summary, titled figures and the table of labels."""
    rows = "".join(
        f"<tr><th>{html.escape(str(key))}</th><td>{html.escape(_plain(value))}</td></tr>"
        for key, value in summary.items()
        if key not in ("evaluation", "calibration", "labels_by_method", "settings_changes", "too_few_environments")
    )
    stages = summary.get("evaluation") or []
    figures = "".join(
        f'<figure><img alt="{html.escape(name)}" src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}">'
        f"<figcaption>{html.escape(name)}</figcaption></figure>"
        for name, path in drawn
    )
    columns = [
        "request_key",
        "species",
        "state",
        "n_atoms",
        "uncertainty",
        "shell_uncertainty",
        "model_version",
        "seconds",
    ]
    labels = (
        table[columns].to_html(index=False, border=0, float_format=lambda value: f"{value:.3g}") if len(table) else ""
    )
    evaluation = (
        pd.DataFrame(stages).to_html(index=False, border=0, float_format=lambda v: f"{v:.2f}") if stages else ""
    )
    changed = summary.get("settings_changes") or []
    changes = pd.DataFrame(changed).to_html(index=False, border=0) if changed else ""
    methods = summary.get("labels_by_method") or {}
    by_method = ", ".join(f"{n} labels by <b>{html.escape(method)}</b>" for method, n in methods.items())
    mixed = f'<p class="note">The labels are by several methods: {by_method}.</p>' if len(methods) > 1 else ""
    too_few = summary.get("too_few_environments")
    warned = f'<p class="note">Warning: {html.escape(too_few_line(too_few))}.</p>' if too_few else ""
    title = html.escape(f"Campaign {summary['campaign']}")
    reference = html.escape(str(summary.get("reference", "")))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 1180px; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.6rem; }} h2 {{ font-size: 1.15rem; margin-top: 2rem; }}
table {{ border-collapse: collapse; font-size: 13px; }}
th, td {{ padding: 3px 10px; text-align: left; border-bottom: 1px solid #e3e6ea; }}
.figures {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); gap: 1.5rem; }}
figure {{ margin: 0; }} img {{ max-width: 100%; }} figcaption {{ color: #57606a; font-size: 13px; }}
.note {{ background: #fff8e1; padding: .6rem 1rem; border-left: 4px solid #d9a400; }}
details {{ overflow-x: auto; }}
</style></head><body>
<h1>{title}</h1>
<p class="note">Reference: <b>{reference}</b>. Errors and labels on this page are against this reference.</p>{mixed}{warned}
<h2>Figures</h2><div class="figures">{figures}</div>
{"<h2>Whole frames against the reference, by stage of the schedule</h2>" + evaluation if evaluation else ""}
{_calibration(summary.get("calibration"))}
<h2>Summary</h2><table>{rows}</table>
{"<h2>Settings that later runs changed, each with its first round</h2>" + changes if changes else ""}
<h2>Labels</h2><details><summary>{len(table)} substructures</summary>{labels}</details>
</body></html>
"""


def _calibration(found: dict[str, Any] | None) -> str:
    """Uncertainty against force error: rank correlation, errors by bins of u/τ, and the warning if there is one."""
    if found is None:
        return ""
    correlation = "undefined" if found["rank_correlation"] is None else f"{found['rank_correlation']:.2f}"
    warning = "" if found["warning"] is None else f'<p class="note">Warning: {html.escape(found["warning"])}.</p>'
    rows = pd.DataFrame(
        {
            "uncertainty / threshold": [
                f"from {entry['from']:g}" + ("" if entry["to"] is None else f" to {entry['to']:g}")
                for entry in found["bins"]
            ],
            "centres": [entry["n"] for entry in found["bins"]],
            "mean force error (meV/Å)": [entry["force_error_meV_per_A"] for entry in found["bins"]],
        }
    )
    return (
        "<h2>Uncertainty against force error, at labelled centres before they were learned</h2>"
        f"<p>Rank correlation {correlation} over {found['n']} centres.</p>{warning}"
        f"{rows.to_html(index=False, border=0, float_format=lambda value: f'{value:.0f}')}"
    )


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "–" if value is None else str(value)
