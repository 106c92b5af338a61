"""The cells that a campaign will label, and how large they are: trial crops from its first frame, which cost no label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from idealflow.core import SOAP, Uncertainty, UncertaintyModel, crop_search, vacuum_crop
from idealflow.errors import InputError
from idealflow.workflow.campaign.checks import labels_whole
from idealflow.workflow.campaign.settings import CampaignSettings
from idealflow.workflow.folder.earlier import open_earlier
from idealflow.workflow.jobs.keys import generator
from idealflow.workflow.learner.version import load_uncertainty_artifact

__all__ = ["CellSizes", "trial_cells"]

_CENTRES = 4  # atoms of the frame that are cropped
_KNOWN = 48  # structures of the first training set that the trial's uncertainty learns


@dataclass(frozen=True)
class CellSizes:
    """Atoms and electrons of cells.

    Attributes
    ----------
    n_atoms, n_electrons
        Of each cell; electrons are all those of the neutral atoms.

    Examples
    --------
    >>> from ase.build import bulk
    >>> CellSizes.of([bulk("Cu"), bulk("NaCl", "rocksalt", a=5.64)])
    CellSizes(n_atoms=[1, 2], n_electrons=[29, 28])
    """

    n_atoms: list[int]
    n_electrons: list[int]

    @classmethod
    def of(cls, cells: Sequence[Atoms]) -> CellSizes:
        """Count atoms and electrons of cells."""
        return cls([len(cell) for cell in cells], [int(cell.numbers.sum()) for cell in cells])


def trial_cells(maker: CampaignSettings, atoms: Atoms) -> tuple[list[Atoms], list[str]]:
    """Cut cells around some atoms of the frame as the campaign will, each species included where there are few.

    What is known is taken from the structures of the first training set, before they are labelled: the distribution needs no
    labels. Committees and measures of your own crop by the same descriptor.

    Parameters
    ----------
    maker
        The campaign, whose settings are sound (:func:`~idealflow.workflow.campaign.checks.check_campaign`).
    atoms
        The frame at step 0.

    Returns
    -------
    cells, refused
        The cells, and why there is none around some atoms.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import BootstrapMaker, CropSearchMaker, IdealMaker
    >>> seeds = [{"element": "Cu", "cubic": True, "repeat": 2}]
    >>> bootstrap = BootstrapMaker(seeds=seeds, n_structures=4, soap={"r_cut": 3.0, "n_max": 3, "l_max": 3, "sigma": 0.3})
    >>> maker = IdealMaker(bootstrap=bootstrap, crop=CropSearchMaker(n_candidates=5, max_atoms=100))
    >>> cells, refused = trial_cells(maker, bulk("Cu", cubic=True) * 4)
    >>> len(cells), max(len(cell) for cell in cells) <= 100, refused
    (4, True, [])
    """
    if labels_whole(maker, atoms):
        return [atoms], []
    uncertainty: Any = _known(maker, atoms)
    found, refused = [], []
    for centre in _centres(maker, atoms):
        try:
            if maker.embedding == "vacuum":
                cell = vacuum_crop(uncertainty, atoms, centre, vacuum=maker.crop.vacuum)
            else:
                rng = generator(maker.seed, centre)
                cell = crop_search(uncertainty, atoms, centre, maker.crop.n_candidates, rng, rules=maker.crop.rules())[
                    0
                ]
        except InputError as error:
            refused.append(f"around atom {centre} ({atoms.symbols[centre]}): {error}")
        else:
            found.append(cell.atoms)
    return found, refused


def _known(maker: CampaignSettings, atoms: Atoms) -> Uncertainty | UncertaintyModel:
    """An uncertainty that knows what the first model will be taught."""
    bootstrap = maker.bootstrap
    if bootstrap.source == "campaign":
        _, artifacts, learner = open_earlier(Path(str(bootstrap.campaign)))
        return load_uncertainty_artifact(artifacts, learner)
    frames = bootstrap.read() if bootstrap.source == "dataset" else bootstrap.initial_structures(atoms, maker.seed)
    chosen = sorted(generator(maker.seed, 5).permutation(len(frames))[:_KNOWN])
    some = [frames[i] for i in chosen]
    species = sorted({symbol for frame in [*frames, atoms] for symbol in frame.get_chemical_symbols()})
    return UncertaintyModel.fit(some, SOAP(species=species, **bootstrap.soap))


def _centres(maker: CampaignSettings, atoms: Atoms) -> list[int]:
    """Atoms to crop around: of each species in turn, drawn by the campaign's seed."""
    rng = generator(maker.seed, 6)
    rows = [rng.permutation(np.flatnonzero(atoms.numbers == number))[:_CENTRES] for number in np.unique(atoms.numbers)]
    turns = [int(row[turn]) for turn in range(_CENTRES) for row in rows if turn < len(row)]
    return turns[: max(_CENTRES, len(rows))]
