"""The report: figures of a campaign, and one page that holds them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from jinja2 import Environment, PackageLoader

from idealflow.analysis import msd, rdf
from idealflow.provenance import Campaign
from idealflow.report.comparison import frame_errors_figure, parity_figure
from idealflow.report.figures import (
    labels_figure,
    msd_figure,
    rdf_figure,
    temperature_figure,
    uncertainty_figure,
)
from idealflow.report.summary import summarise
from idealflow.report.wording import too_few_line
from idealflow.schemas import Artifact
from idealflow.storage import replacing

__all__ = ["write_report"]

_RDF_FRAMES = 8
_RDF_R_MAX = 8.0
_LABEL_COLUMNS = (
    "request_key",
    "species",
    "state",
    "n_atoms",
    "uncertainty",
    "shell_uncertainty",
    "model_version",
    "seconds",
)
_MOST_ATOM_FRAMES = 4_000_000  # atoms × frames of the trajectory that figures look at

Fetch = Callable[[Artifact], Path]


def write_report(campaign: Campaign, fetch: Fetch, page: Path, figures: Path) -> Path:
    """Write the figures as PNG files, and one self-contained page with summary, figures and the table of labels.

    Parameters
    ----------
    campaign
        What to report.
    fetch
        Function that returns the local path of an artifact.
    page
        HTML file to write.
    figures
        Folder for the PNG files.

    Returns
    -------
    Path
        ``page``.

    Examples
    --------
    >>> import tempfile
    >>> from idealflow.provenance.folder_documents import FolderDocuments
    >>> from idealflow.storage import Table
    >>> folder = Path(tempfile.mkdtemp())
    >>> Table.opened(folder / "store.sqlite").close()
    >>> campaign = Campaign(FolderDocuments(folder / "store.sqlite"), "cu-melt")
    >>> page = write_report(campaign, campaign.fetch, folder / "report.html", folder / "figures")
    >>> "the bootstrap is under way" in page.read_text()
    True
    """
    figures.mkdir(parents=True, exist_ok=True)
    summary = summarise(campaign, recompute=True)
    drawn = [
        *_learning_figures(campaign, figures, summary),
        *_trajectory_figures(campaign, figures),
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


def _trajectory_figures(campaign: Campaign, figures: Path) -> list[tuple[str, Path]]:
    frames = _frames(campaign)
    if len(frames) < 2:
        return []
    time = np.array([atoms.info["time_fs"] for atoms in frames])
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


def _frames(campaign: Campaign) -> list[Atoms]:
    """Frames of walker 0 in order, thinned evenly so that figures stay affordable for large systems."""
    stored, state = campaign.trajectory(0), campaign.state()
    stride = 1 if state is None else max(1, -(-len(stored) * state.n_atoms // _MOST_ATOM_FRAMES))
    return stored[::stride]


def rendered(summary: dict[str, Any], drawn: list[tuple[str, Path]], table: pd.DataFrame) -> str:
    """The page's HTML from a summary, titled figures and the table of labels."""
    shown_elsewhere = ("evaluation", "calibration", "labels_by_method", "settings_changes", "too_few_environments")
    pages = Environment(loader=PackageLoader("idealflow", "report"), autoescape=True, keep_trailing_newline=True)
    pages.filters["table"] = _table
    too_few, calibration = summary.get("too_few_environments"), summary.get("calibration")
    return pages.get_template("page.html").render(
        title=f"Campaign {summary['campaign']}",
        summary=summary,
        rows={key: _plain(value) for key, value in summary.items() if key not in shown_elsewhere},
        methods=summary.get("labels_by_method") or {},
        too_few=too_few_line(too_few) if too_few else "",
        figures=[(name, base64.b64encode(path.read_bytes()).decode()) for name, path in drawn],
        stages=summary.get("evaluation") or [],
        changes=summary.get("settings_changes") or [],
        calibration=calibration,
        bins=_bins(calibration) if calibration else [],
        labels=table[list(_LABEL_COLUMNS)].to_dict("records"),
    )


def _table(rows: list[dict[str, Any]], form: str = "{}") -> str:
    """Write rows as an HTML table, which pandas escapes; ``form`` says how numbers with a decimal point are written."""
    numbers = None if form == "{}" else form.format
    return str(pd.DataFrame(rows).to_html(index=False, border=0, float_format=numbers))


def _bins(calibration: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table of errors by bins of uncertainty / threshold."""
    return [
        {
            "uncertainty / threshold": f"from {entry['from']:g}"
            + ("" if entry["to"] is None else f" to {entry['to']:g}"),
            "centres": entry["n"],
            "mean force error (meV/Å)": entry["force_error_meV_per_A"],
        }
        for entry in calibration["bins"]
    ]


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "–" if value is None else str(value)
