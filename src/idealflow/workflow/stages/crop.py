"""Stage 3: candidate cells around one centre, ranked by the uncertainty of their shells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from ase import Atoms
from jobflow import Maker
from pydantic import Field

from idealflow.core import Crop, CropRules, Uncertainty, crop_search, vacuum_crop, whole_frame
from idealflow.errors import InputError
from idealflow.former_names import formerly
from idealflow.schemas import (
    Artifact,
    CandidateFigures,
    CentreDoc,
    CropDoc,
    LearnerFiles,
    LearnerVersion,
    ScreenDoc,
    StageContext,
    StoredCrop,
)
from idealflow.schemas.substructures import Embedding
from idealflow.workflow.frames.encode import load_frame
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.jobs.keys import child_seed
from idealflow.workflow.jobs.progress import Progress, emit
from idealflow.workflow.jobs.stage import artifact_store, stage, stamp
from idealflow.workflow.learner.version import load_uncertainty_artifact
from idealflow.workflow.stages import alone

__all__ = ["CropSearchMaker", "Embedding"]

#: settings in messages of the search, which a config has under `crop`
_SETTINGS = re.compile(r"max_atoms|max_composition_error|oxidation_states|cell_widths|waive_surface_rule")
#: further crops that are kept, each with more atoms than all before it, in case none of the best holds its core
_LARGER = 2


@formerly("category")
@dataclass
class CropSearchMaker(StableName, Maker):
    """Search for the best periodic cell around one uncertain atom.

    The core, which stays as it was in the frame, is the sphere that the uncertainty sees: all that the first layer of a force
    field that passes messages sees of the atom. Further layers see the shell too.

    Attributes
    ----------
    n_candidates
        Random cells tried around the centre (the paper: 20–100).
    max_atoms
        Atom budget of a substructure; a frame within it is used whole.
    whole_if_small
        Use a frame within the budget whole. False crops it all the same, as a comparison of embeddings needs.
    max_composition_error
        Composition error that is allowed beyond the one of the frame itself around the centre: the fraction of atoms that
        would have to change species.
    oxidation_states
        Charge of each species, e: shell atoms are removed until a crop is neutral; crops where that fails are refused. None:
        guessed from the composition when a campaign of an ionic crystal begins
        (:func:`~idealflow.structures.charges.ionic_charges`); an empty mapping: crops may be charged.
    vacuum
        Width of the empty space around surfaces in a crop, Å.
    hydrogen_caps
        Close the covalent bonds that a cell cuts with hydrogen, which the model must then know (organic systems).
    cell_widths
        Smallest and largest perpendicular width of a cell, Å; the largest at least twice the true cutoff. None: from twice the
        cutoff to 3 Å more, and up to 7 Å more where the core sees empty space.
    waive_surface_rule
        Where no cell keeps the empty space that the centre looks into, label one without it, and say so. False: such a centre
        counts as a failed label.

    Examples
    --------
    Alone, around one atom beside a vacancy; ``u`` may be the file that ``u.save`` wrote:

    >>> from ase.build import bulk
    >>> from jobflow import run_locally
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> crystal.rattle(0.1, seed=1)
    >>> u = UncertaintyModel.fit([crystal], SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> frame = bulk("Cu", cubic=True) * 4
    >>> del frame[100]
    >>> from idealflow import CropSearchMaker
    >>> job = CropSearchMaker(n_candidates=5, max_atoms=150).make(frame, 99, u)
    >>> found = run_locally(job, log=False)[job.uuid][1].output
    >>> len(found.chosen), found.species
    (3, 'Cu')
    """

    n_candidates: Annotated[int, Field(ge=1, le=1000)] = 50
    max_atoms: Annotated[int, Field(ge=2)] = 400
    whole_if_small: bool = True
    max_composition_error: Annotated[float, Field(gt=0)] = 0.1
    oxidation_states: dict[str, float] | None = None
    vacuum: Annotated[float, Field(gt=0)] = 10.0
    hydrogen_caps: bool = False
    cell_widths: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None = None
    waive_surface_rule: bool = False
    name: str = "crop search"

    def as_dict(self) -> dict[str, Any]:
        """Return the MSON form; what earlier versions did not know is left out at its default: hashes equal those without it."""
        found = super().as_dict()
        for name, default in (("cell_widths", None), ("waive_surface_rule", False)):
            if found[name] == default:
                del found[name]
        return found

    @stage(output_schema=CropDoc, alone=alone.crop)
    def make(
        self,
        context: StageContext,
        frame: Artifact,
        screen: ScreenDoc,
        screen_uuid: str,
        centre: CentreDoc,
        learner: LearnerVersion | LearnerFiles,
        embedding: Embedding = "ides",
        n_keep: int = 3,
    ) -> CropDoc:
        """Search crops around ``centre``; the document has the figures of all and the structures of the best ``n_keep``.

        Up to two larger ones are kept besides, for the case that the relaxation of none of those leaves the core as it is.
        """
        store = artifact_store(context)
        atoms = load_frame(store, frame)
        uncertainty = load_uncertainty_artifact(store, learner)
        seed = [context.seed, screen.walker, screen.step, centre.atom]

        crops, refused, failure = self._search(
            uncertainty, atoms, centre.atom, embedding, child_seed(*seed), self.rules(context.charges)
        )
        waived = any("surface_rule_waived" in crop.notes for crop in crops)
        message = "no cell keeps the surface; crop.waive_surface_rule allows one without it" if waived else failure
        if message is not None:
            where = f"atom {centre.atom} of walker {screen.walker} at step {screen.step}"
            emit(Progress("crop", walker=screen.walker, step=screen.step, message=f"{where}: {message}"))

        return CropDoc(
            walker=screen.walker,
            step=screen.step,
            atom=centre.atom,
            species=centre.species,
            centre_uncertainty=centre.uncertainty,
            screen_uuid=screen_uuid,
            segment_uuid=screen.segment_uuid,
            model_version=learner.version,
            embedding=embedding,
            seed=seed,
            candidates=[*(_figures(crop.figures()) for crop in crops), *refused],
            chosen=[StoredCrop.model_validate(crop.to_dict()) for crop in kept_crops(crops, n_keep)],
            failure=failure,
            **stamp(),
        )

    def rules(self, guessed: dict[str, float] | None = None) -> CropRules:
        """Return what every crop of the search keeps; ``guessed`` are the campaign's oxidation states, if none are given."""
        charges = guessed if self.oxidation_states is None else self.oxidation_states
        return CropRules(
            max_atoms=self.max_atoms,
            whole_if_small=self.whole_if_small,
            max_composition_error=self.max_composition_error,
            oxidation_states=charges or None,
            vacuum=self.vacuum,
            hydrogen_caps=self.hydrogen_caps,
            cell_widths=self.cell_widths,
            waive_surface_rule=self.waive_surface_rule,
        )

    def _search(
        self, uncertainty: Uncertainty, atoms: Atoms, centre: int, embedding: Embedding, seed: int, rules: CropRules
    ) -> tuple[list[Crop], list[CandidateFigures], str | None]:
        """Return crops (best first), figures of refused candidates, and, if there is no crop at all, the reason."""
        if embedding == "frame":
            return [whole_frame(uncertainty, atoms, centre, vacuum=self.vacuum)], [], None
        if embedding == "vacuum":
            return [vacuum_crop(uncertainty, atoms, centre, vacuum=self.vacuum)], [], None
        rng = np.random.default_rng(seed)
        try:
            found = crop_search(uncertainty, atoms, centre, self.n_candidates, rng, rules=rules)
        except InputError as refusal:  # a centre that cannot be cropped is a failed label, not a failed campaign
            return [], [], "no crop: " + _SETTINGS.sub(r"crop.\g<0>", str(refusal))
        refused = [_figures(entry.figures, refused=entry.reason) for entry in found.rejected]
        return list(found), refused, None if len(found) else "no crop: every candidate was refused"


def kept_crops(crops: list[Crop], n_keep: int) -> list[Crop]:
    """Take the best crops, and after them the next best that are larger than all before.

    Parameters
    ----------
    crops
        Best first.
    n_keep
        How many of the best.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> crops = [SimpleNamespace(atoms=range(n)) for n in (50, 60, 55, 70, 65, 90)]
    >>> [len(crop.atoms) for crop in kept_crops(crops, 2)]
    [50, 60, 70, 90]
    """
    kept = crops[:n_keep]
    for crop in crops[n_keep:]:
        if len(kept) < n_keep + _LARGER and len(crop.atoms) > max(len(one.atoms) for one in kept):
            kept.append(crop)
    return kept


def _figures(figures: dict[str, Any], refused: str | None = None) -> CandidateFigures:
    rest = {key: value for key, value in figures.items() if key not in ("kind", "n_atoms")}
    return CandidateFigures(cell_kind=figures["kind"], n_atoms=figures["n_atoms"], refused=refused, **rest)
