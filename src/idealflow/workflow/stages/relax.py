"""Stage 4: the shell of a crop is relaxed on the uncertainty until it looks like what the model knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from jobflow import Maker
from pydantic import Field

from idealflow.core import Crop, Embedded, Objective, RelaxRules, embed
from idealflow.former_names import formerly
from idealflow.schemas import (
    CentreOfFrame,
    CropDoc,
    LearnerFiles,
    LearnerVersion,
    RelaxationDoc,
    RelaxedCrop,
    StageContext,
)
from idealflow.workflow.frames.encode import to_stored
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.jobs.stage import artifact_store, stage, stamp
from idealflow.workflow.learner.version import load_uncertainty_artifact
from idealflow.workflow.stages import alone

__all__ = ["UncertaintyRelaxMaker"]


@formerly("category")
@dataclass
class UncertaintyRelaxMaker(StableName, Maker):
    """Relax shell and cell of a crop on the uncertainty; the core stays untouched.

    Attributes
    ----------
    max_steps
        How often objective and gradient are evaluated at most, for each crop.
    max_crops
        How many crops are tried at most: if the relaxation of one stalls, the next is tried.
    cell
        Move the cell vectors too (False: positions only, the paper's form).
    objective
        What is minimised. ``frame-hinge`` counts atoms that are more uncertain than they were in the frame and than the
        in-distribution mean; ``hinge`` counts shell atoms above that mean, and core atoms above their own value in the frame;
        ``log-hinge`` is its logarithmic form; ``mean`` is the plain mean (the paper's).

    Examples
    --------
    Alone, on the crops of a search:

    >>> from ase.build import bulk
    >>> from jobflow import run_locally
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> crystal.rattle(0.1, seed=1)
    >>> u = UncertaintyModel.fit([crystal], SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> frame = bulk("Cu", cubic=True) * 4
    >>> del frame[100]
    >>> from idealflow import CropSearchMaker, UncertaintyRelaxMaker
    >>> search = CropSearchMaker(n_candidates=5, max_atoms=150).make(frame, 99, u)
    >>> relax = UncertaintyRelaxMaker(max_steps=10, max_crops=1).make(search.output, u)
    >>> relaxed = run_locally([search, relax], log=False)[relax.uuid][1].output
    >>> relaxed.structure is not None, len(relaxed.tried)
    (True, 1)
    """

    max_steps: Annotated[int, Field(ge=1)] = 300
    max_crops: Annotated[int, Field(ge=1)] = 3
    cell: bool = True
    objective: Objective = "frame-hinge"
    name: str = "uncertainty relaxation"

    @stage(output_schema=RelaxationDoc, alone=alone.relax)
    def make(
        self,
        context: StageContext,
        crop: CropDoc,
        crop_uuid: str,
        learner: LearnerVersion | LearnerFiles,
        attempt: int = 0,
    ) -> RelaxationDoc:
        """Relax the kept crops and take the ``attempt``-th best; for embeddings other than ``ides`` crops stay unchanged."""
        place = crop.shared_with(CentreOfFrame) | {
            "attempt": attempt,
            "crop_uuid": crop_uuid,
            "centre_uncertainty": crop.centre_uncertainty,
        }
        crops = [Crop.from_dict(kept.model_dump()) for kept in crop.chosen]
        if attempt >= len(crops):
            reason = crop.failure or f"no crop: only {len(crops)} cells stood the search"
            return RelaxationDoc(
                **stamp() | place, structure=None, core=[], centre=None, parent_indices=[], composition_error=None,
                crop_index=None, reason=reason, trace=[], tried=[],
                uncertainty_before=None, uncertainty_after=None, core_worsening=None,
            )  # fmt: skip
        if crop.embedding != "ides" or crops[attempt].cell_kind == "whole":
            cut = crops[attempt]
            return RelaxationDoc(
                **stamp() | place | _cell(cut, attempt), structure=to_stored(cut.atoms), reason="unchanged", trace=[], tried=[],
                uncertainty_before=cut.uncertainty, uncertainty_after=cut.uncertainty, core_worsening=cut.core_worsening,
            )  # fmt: skip
        uncertainty = load_uncertainty_artifact(artifact_store(context), learner)

        rules = RelaxRules(max_steps=self.max_steps, cell=self.cell, objective=self.objective)
        tried = embed(uncertainty, crops, max_crops=self.max_crops, n_wanted=attempt + 1, rules=rules)

        best, relaxed = tried[attempt], tried[attempt].relaxed
        return RelaxationDoc(
            **stamp() | place | _cell(best.crop, best.index),
            structure=to_stored(relaxed.atoms),
            reason=relaxed.reason,
            trace=[float(value) for value in relaxed.trace],
            tried=[_figures(one) for one in tried],
            uncertainty_before=relaxed.uncertainty_before,
            uncertainty_after=relaxed.uncertainty_after,
            core_worsening=relaxed.core_worsening,
        )


def _cell(crop: Crop, index: int) -> dict[str, Any]:
    """Tell which atoms of the frame a cell holds; a relaxation keeps their order."""
    return {
        "crop_index": index,
        "core": np.flatnonzero(crop.core).tolist(),
        "centre": crop.centre,
        "parent_indices": crop.parent_indices.tolist(),
        "composition_error": crop.composition_error,
    }


def _figures(one: Embedded) -> RelaxedCrop:
    return RelaxedCrop(
        crop_index=one.index,
        n_atoms=len(one.crop.atoms),
        reason=one.relaxed.reason,
        n_steps=one.relaxed.n_steps,
        uncertainty_before=one.relaxed.uncertainty_before,
        uncertainty_after=one.relaxed.uncertainty_after,
        core_worsening=one.relaxed.core_worsening,
    )
