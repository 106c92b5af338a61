"""Stage 4: the shell of a crop is relaxed on the uncertainty until it looks like what the model knows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any

from jobflow import Maker
from pydantic import Field

from idealflow.core import Crop, Embedded, Objective, embed
from idealflow.former_names import formerly
from idealflow.schemas import CropDoc, LearnerFiles, LearnerVersion, RelaxationDoc, RelaxedCrop, StageContext
from idealflow.workflow.frames.encode import to_stored
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.jobs.stage import artifact_store, committed, stage
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
        Evaluations of objective and gradient at most, for each crop.
    max_crops
        Where the relaxation of one crop stalls, the next is tried, at most so many.
    cell
        Move the cell vectors too (False: positions only, the paper's form).
    objective
        ``frame-hinge`` (no atom less known than it was in the frame, or than the in-distribution mean), ``hinge`` (shell atoms
        above that mean, core atoms above their own value in the frame), ``log-hinge`` (its logarithmic form) or the plain
        ``mean`` (the paper's).

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
        crop: CropDoc | dict[str, Any],
        crop_uuid: str,
        learner: LearnerVersion | LearnerFiles,
        attempt: int = 0,
    ) -> RelaxationDoc:
        """Relax the kept crops, take the ``attempt``-th best; all but ``embedding="ides"`` pass unchanged."""
        if (done := committed(RelaxationDoc)) is not None:
            return done
        started = time.perf_counter()
        crop = CropDoc.model_validate(crop)
        common = {
            "campaign": context.campaign,
            "round": context.round,
            "attempt": attempt,
            "crop_uuid": crop_uuid,
            **crop.model_dump(
                include={
                    "walker", "step", "atom", "species", "centre_uncertainty",
                    "segment_uuid", "screen_uuid", "model_version", "embedding",
                }
            ),
        }  # fmt: skip
        if attempt >= len(crop.chosen):
            return _nothing(common, crop.failure or f"no crop: only {len(crop.chosen)} cells stood the search")
        start = Crop.from_dict(crop.chosen[attempt])
        if crop.embedding != "ides" or start.kind == "whole":
            return RelaxationDoc(
                **common,
                structure=to_stored(start.atoms),
                core=crop.chosen[attempt]["core"],
                centre=start.centre,
                parent_indices=crop.chosen[attempt]["parent_indices"],
                trace=[],
                reason="unchanged",
                crop_index=attempt,
                tried=[],
                uncertainty_before=start.uncertainty,
                uncertainty_after=start.uncertainty,
                core_worsening=start.core_worsening,
                composition_error=start.composition_error,
                seconds=time.perf_counter() - started,
            )
        uncertainty = load_uncertainty_artifact(artifact_store(context), learner)
        crops = [Crop.from_dict(kept) for kept in crop.chosen]

        tried = embed(
            uncertainty, crops, self.max_crops, self.max_steps, self.cell, self.objective, n_wanted=attempt + 1
        )
        best = tried[attempt]

        return RelaxationDoc(
            **common,
            structure=to_stored(best.relaxed.atoms),
            core=crop.chosen[best.index]["core"],
            centre=best.relaxed.centre,
            parent_indices=crop.chosen[best.index]["parent_indices"],
            trace=[float(value) for value in best.relaxed.trace],
            reason=best.relaxed.reason,
            crop_index=best.index,
            tried=[_figures(one) for one in tried],
            uncertainty_before=best.relaxed.uncertainty_before,
            uncertainty_after=best.relaxed.uncertainty_after,
            core_worsening=best.relaxed.core_worsening,
            composition_error=best.crop.composition_error,
            seconds=time.perf_counter() - started,
        )


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


def _nothing(common: dict[str, Any], reason: str) -> RelaxationDoc:
    return RelaxationDoc(
        **common,
        structure=None,
        core=[],
        centre=-1,
        parent_indices=[],
        trace=[],
        reason=reason,
        crop_index=-1,
        tried=[],
        uncertainty_before=None,
        uncertainty_after=None,
        core_worsening=None,
        composition_error=None,
        seconds=0.0,
    )
