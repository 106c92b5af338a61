"""Stage 4: the shell of a crop is relaxed on the uncertainty until it looks like what the model knows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from jobflow import Maker
from pydantic import Field

from idealflow.core import Crop, relax_shell
from idealflow.schemas import CropDoc, LearnerVersion, RelaxationDoc, StageContext
from idealflow.workflow.encoding import load_uncertainty_artifact, to_stored
from idealflow.workflow.stage import artifact_store, committed, stage

__all__ = ["UncertaintyRelaxMaker"]


@dataclass
class UncertaintyRelaxMaker(Maker):
    """Relax shell and cell of a crop on the uncertainty; the core stays untouched.

    Attributes
    ----------
    max_steps
        Optimiser steps at most.
    cell
        Move the cell vectors too (False: positions only, the paper's form).
    objective
        ``hinge`` (shell atoms above 1, core atoms above their own value in the frame) or the plain ``mean``.
    category
        FireWorks category of the workers that run it; default: the campaign's.
    """

    max_steps: Annotated[int, Field(ge=0)] = 100
    cell: bool = True
    objective: Literal["hinge", "mean"] = "hinge"
    category: str | None = None
    name: str = "uncertainty relaxation"

    @stage(output_schema=RelaxationDoc)
    def make(
        self,
        context: StageContext,
        crop: CropDoc | dict[str, Any],
        crop_uuid: str,
        learner: LearnerVersion,
        attempt: int = 0,
    ) -> RelaxationDoc:
        """Relax the ``attempt``-th best crop; only ``embedding="ides"`` relaxes, the other arms pass unchanged."""
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
                uncertainty_before=start.uncertainty,
                uncertainty_after=start.uncertainty,
                core_worsening=start.core_worsening,
                composition_error=start.composition_error,
                seconds=time.perf_counter() - started,
            )
        uncertainty = load_uncertainty_artifact(artifact_store(context), learner)

        relaxed = relax_shell(uncertainty, start, max_steps=self.max_steps, cell=self.cell, objective=self.objective)

        return RelaxationDoc(
            **common,
            structure=to_stored(relaxed.atoms),
            core=crop.chosen[attempt]["core"],
            centre=relaxed.centre,
            parent_indices=crop.chosen[attempt]["parent_indices"],
            trace=[float(value) for value in relaxed.trace],
            reason=relaxed.reason,
            uncertainty_before=relaxed.uncertainty_before,
            uncertainty_after=relaxed.uncertainty_after,
            core_worsening=relaxed.core_worsening,
            composition_error=start.composition_error,
            seconds=time.perf_counter() - started,
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
        uncertainty_before=None,
        uncertainty_after=None,
        core_worsening=None,
        composition_error=None,
        seconds=0.0,
    )
