"""A campaign's figures as PNG files, which documents and papers show in place of the interactive page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

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
from idealflow.report.sections.dynamics import thinned_frames
from idealflow.schemas import Artifact

__all__ = ["write_pictures"]

_RDF_FRAMES = 8
_RDF_R_MAX = 8.0
Fetch = Callable[[Artifact], Path]


def write_pictures(campaign: Campaign, fetch: Fetch, figures: Path) -> list[Path]:
    """Draw a campaign's figures as PNG files, for pages and papers that show pictures.

    Parameters
    ----------
    campaign
        What to draw.
    fetch
        Function that returns the local path of an artifact.
    figures
        Folder for the files; it is made if need be.

    Returns
    -------
    list of Path
        The files; fewer while there is less to draw.

    Examples
    --------
    >>> import tempfile
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> [path.stem for path in write_pictures(campaign, campaign.fetch, Path(tempfile.mkdtemp()))]
    ['uncertainty', 'labels', 'temperature', 'msd', 'rdf', 'parity', 'errors']
    """
    figures.mkdir(parents=True, exist_ok=True)
    return [
        *_learning_figures(campaign, figures),
        *_trajectory_figures(campaign, figures),
        *_evaluation_figures(campaign, fetch, figures),
    ]


def _learning_figures(campaign: Campaign, figures: Path) -> list[Path]:
    log = campaign.log()
    if log.empty:
        return []
    steps = [output["step"] for output in campaign.outputs("substructure", ["step"], state="accepted")]
    drawn = [temperature_figure(log, figures / "temperature.png")]
    if steps:
        drawn.insert(0, labels_figure(steps, figures / "labels.png", n_steps=int(log["step"].max())))
    screened, state = log[np.isfinite(log["first_uncertainty"])], campaign.state()
    if len(screened) and state is not None and state.threshold:
        shown = screened.assign(max_uncertainty=screened["first_uncertainty"])
        path = figures / "uncertainty.png"
        drawn.insert(0, uncertainty_figure(shown, path, threshold=state.threshold, label_steps=steps))
    return drawn


def _trajectory_figures(campaign: Campaign, figures: Path) -> list[Path]:
    frames = thinned_frames(campaign)
    if len(frames) < 2:
        return []
    time = np.array([atoms.info["time_fs"] for atoms in frames])
    positions = np.array([atoms.positions for atoms in frames])
    symbols = np.array(frames[0].get_chemical_symbols())
    curves = {species: msd(positions, atoms=symbols == species) for species in sorted(set(symbols))}
    timed = bool(np.isfinite(time).all())  # steps of Monte Carlo have no time
    drawn = [msd_figure(time - time[0], curves, figures / "msd.png")] if timed else []
    if frames[0].cell.rank < 3:  # without a volume there is no density to compare with
        return drawn
    n = min(_RDF_FRAMES, len(frames) // 2)
    radial = {}
    for name, part in (("start", frames[1 : n + 1]), ("end", frames[-n:])):
        curve = rdf(part, _RDF_R_MAX)
        radial[name] = (curve.r, curve.g)
    drawn.append(rdf_figure(radial, figures / "rdf.png"))
    return drawn


def _evaluation_figures(campaign: Campaign, fetch: Fetch, figures: Path) -> list[Path]:
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
    return [parity, errors]
