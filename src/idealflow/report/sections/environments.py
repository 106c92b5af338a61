"""The map of environments: frame, vacuum crop, crop and substructure in the plane of largest variance (the paper's Figure 2f)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.analysis import map_environments
from idealflow.errors import ArtifactError, InputError
from idealflow.provenance import Campaign
from idealflow.report.sections.blocks import Block, Section, figure, missing, numbers
from idealflow.report.sections.frames import atoms_of, load_frame

__all__ = ["environments"]

_MOST_CENTRES = 8  # labelled centres whose cells are mapped
_MOST_POINTS = 900  # of one kind; more hide each other
_KINDS = (
    ("substructure", "@blue", "circle"),
    ("crop, not yet relaxed", "@orange", "square"),
    ("vacuum crop", "@red", "x"),
    ("frame", "@grey", "circle-open"),
)


def environments(campaign: Campaign) -> Section:
    """Map the environments that labels saw: which of them are like those of the frame.

    Examples
    --------
    The sample campaign does not keep the file of its uncertainty:

    >>> from idealflow.provenance import sample_campaign
    >>> block = environments(sample_campaign()).blocks[0]
    >>> block["kind"], block["text"].partition(":")[0]
    ('missing', 'A file of the campaign cannot be read')
    """
    section = Section(
        "environments",
        "Map of environments",
        "A good small cell has no environment that the frame does not have. Atoms on the faces of a vacuum "
        "crop lie far off; periodic crops "
        "come closer; relaxation brings them home.",
    )
    section.add(*_maps(campaign))
    return section


def _maps(campaign: Campaign) -> list[Block]:
    title = "Environments of frame, vacuum crop, crop and substructure"
    state = campaign.state()
    rows = campaign.outputs(
        "substructure",
        ("uuid", "round", "crop_uuid", "relaxation_uuid", "segment_uuid"),
        state="accepted",
        embedding="ides",
    )
    if state is None or state.learner is None or not rows:
        return [missing(title, "No substructure is labelled yet that was cropped and relaxed.")]
    rows.sort(key=lambda row: (row["round"], row["uuid"]))
    chosen = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, _MOST_CENTRES).astype(int))]
    try:
        uncertainty = _soap_model(campaign.fetch(state.learner.uncertainty))
        cells = _cells(campaign, chosen)
    except ArtifactError as error:
        return [
            missing(
                title, f"A file of the campaign cannot be read: {error}. The map needs the uncertainty's, and frames."
            )
        ]
    except InputError as error:
        return [missing(title, f"The campaign's uncertainty has no SOAP vectors to map: {error}.")]
    found = []
    for species in uncertainty.species:
        vectors = {kind: _vectors(uncertainty, some, species) for kind, some in cells.items()}
        if sum(len(some) for some in vectors.values()) >= 3 and len(vectors["frame"]):
            found.append(_map(species, vectors, len(uncertainty.species) > 1, len(chosen)))
    return found or [missing(title, "The stored frames have too few environments to map.")]


def _soap_model(path: Path) -> Any:
    """The SOAP model of an uncertainty: itself, or that which a measure beside it, such as the mixture, has."""
    from idealflow.core import SOAPCoverage, UncertaintyModel, load_uncertainty  # with numba: a second to import

    uncertainty = load_uncertainty(path)
    found = uncertainty.base if isinstance(uncertainty, SOAPCoverage) else uncertainty
    if not isinstance(found, UncertaintyModel):
        raise InputError(f"{uncertainty.name} is no measure by SOAP")
    return found


def _cells(campaign: Campaign, chosen: list[dict[str, Any]]) -> dict[str, list[tuple[Atoms, NDArray[np.int64]]]]:
    """Structures of each kind, and which of their atoms to map; of a frame those around the centre."""
    cells: dict[str, list[tuple[Atoms, NDArray[np.int64]]]] = {kind: [] for kind, _, _ in _KINDS}
    for row in chosen:
        (relaxed,) = campaign.outputs(
            "relaxation", ("structure", "crop_index", "parent_indices", "core"), uuid=row["relaxation_uuid"]
        )
        (crop,) = campaign.outputs("crop", ("chosen",), uuid=row["crop_uuid"])
        (segment,) = campaign.outputs("segment", ("frame",), uuid=row["segment_uuid"])
        frame, core = load_frame(campaign, segment["frame"]), np.asarray(relaxed["core"])
        best = atoms_of(crop["chosen"][relaxed["crop_index"]] | {"pbc": [True] * 3})
        vacuum = Atoms(best.numbers[core], positions=best.positions[core], cell=best.cell, pbc=False)
        whole = atoms_of(relaxed["structure"])
        parents = np.unique(np.asarray(relaxed["parent_indices"]))
        around = parents[(parents >= 0) & (parents < len(frame))]
        cells["frame"].append((frame, around))
        cells["vacuum crop"].append((vacuum, np.arange(len(vacuum))))
        cells["crop, not yet relaxed"].append((best, np.arange(len(best))))
        cells["substructure"].append((whole, np.arange(len(whole))))
    return cells


def _vectors(uncertainty: Any, cells: list[tuple[Atoms, NDArray[np.int64]]], species: str) -> NDArray[np.float64]:
    """SOAP vectors of the atoms of a species, thinned evenly."""
    parts = []
    for atoms, some in cells:
        of_species = some[np.array(atoms.get_chemical_symbols())[some] == species]
        if len(of_species):
            parts.append(uncertainty.descriptors(atoms, of_species))
    if not parts:
        return np.empty((0, 2))
    vectors = np.concatenate(parts)
    return np.asarray(vectors[:: max(1, -(-len(vectors) // _MOST_POINTS))])


def _map(species: str, vectors: dict[str, NDArray[np.float64]], several: bool, n_centres: int) -> Block:
    kinds = [kind for kind, _, _ in _KINDS if len(vectors[kind])]
    plane = map_environments(np.concatenate([vectors[kind] for kind in kinds]))
    traces, start = [], 0
    styles = {kind: (colour, symbol) for kind, colour, symbol in _KINDS}
    parts = {}
    for kind in kinds:
        parts[kind] = plane[start : start + len(vectors[kind])]
        start += len(vectors[kind])
    for kind in reversed(kinds):  # those that matter most on top
        colour, symbol = styles[kind]
        traces.append({
            "type": "scatter", "mode": "markers", "name": kind, "x": numbers(parts[kind][:, 0]), "y": numbers(parts[kind][:, 1]),
            "marker": {"color": colour, "symbol": symbol, "size": 5, "opacity": 0.6}, "hoverinfo": "name",
        })  # fmt: skip
    hint = (
        f"One point an atom, around {n_centres} labelled centres drawn evenly from the campaign: SOAP vectors "
        "in the plane of their largest "
        "variance. Click a name in the legend to hide its points."
    )
    title = f"Environments of {species}" if several else "Environments of frame, vacuum crop, crop and substructure"
    return figure(f"map-{species}", title, hint, traces, "first component", "second component")
