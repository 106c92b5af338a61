"""Stage 2: atom-by-atom uncertainty of a frame, and the centres chosen in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from ase import Atoms
from jobflow import Maker
from pydantic import Field

from idealflow.core import ScreenedFrame, Uncertainty
from idealflow.former_names import formerly
from idealflow.schemas import CentreDoc, LearnerFiles, LearnerVersion, ScreenDoc, SegmentDoc, StageContext
from idealflow.storage import ArtifactStore
from idealflow.workflow.frames.encode import load_frame
from idealflow.workflow.frames.screened import load_screened
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.jobs.stage import artifact_store, stage, stamp
from idealflow.workflow.learner.version import load_uncertainty_artifact
from idealflow.workflow.stages import alone

__all__ = ["UncertaintyScreenMaker"]


@formerly("category")
@dataclass
class UncertaintyScreenMaker(StableName, Maker):
    """Screen one frame and choose the centres of its substructures.

    The uncertainty looks as far as one layer of a force field that passes messages, and not as far as all of its layers reach.

    Attributes
    ----------
    max_centres
        How many centres are chosen at most. The frame is screened again after every update, so the others get their turn.

    Examples
    --------
    Alone, on one frame:

    >>> from ase.build import bulk
    >>> from jobflow import run_locally
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> crystal.rattle(0.1, seed=1)
    >>> u = UncertaintyModel.fit([crystal], SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> frame = bulk("Cu", cubic=True) * 4
    >>> del frame[100]
    >>> from idealflow import UncertaintyScreenMaker
    >>> job = UncertaintyScreenMaker(max_centres=2).make(frame, u, threshold=u.auto_threshold())
    >>> run_locally(job, log=False)[job.uuid][1].output.n_atoms
    255
    """

    max_centres: Annotated[int, Field(ge=1)] = 4
    name: str = "uncertainty screen"

    # a stored screen is not reused: screening costs little, and the threshold may have changed
    @stage(output_schema=ScreenDoc, alone=alone.screen, reuse=False)
    def make(
        self,
        context: StageContext,
        segment: SegmentDoc,
        learner: LearnerVersion | LearnerFiles,
        threshold: float,
    ) -> ScreenDoc:
        """Choose centres greedily by uncertainty in the frame a segment ended on.

        After a blow-up the atom that was pulled most is chosen, though one like it be known, and the most uncertain ones, whether
        or not they reach the threshold.
        """
        store = artifact_store(context)
        frame = load_frame(store, segment.frame)
        uncertainty = load_uncertainty_artifact(store, learner)
        blown_up = segment.reason == "blow_up"

        result = self._screened(store, segment, learner, uncertainty, frame, 0.0 if blown_up else threshold)
        centres = [int(atom) for atom in result.centres]
        if segment.pulled is not None:
            centres = [segment.pulled, *(atom for atom in centres if atom != segment.pulled)][: self.max_centres]

        finite = result.values[np.isfinite(result.values)]
        quantiles = np.quantile(finite, [0.5, 0.9, 0.99]) if finite.size else np.full(3, np.inf)
        return ScreenDoc(
            walker=segment.walker,
            step=segment.frame_step,
            segment_uuid=segment.uuid,
            model_version=learner.version,
            threshold=threshold,
            n_atoms=len(frame),
            n_uncertain=int((result.values > threshold).sum()),
            n_triggering=int(result.triggering.sum()),
            max_uncertainty=float(result.values.max()),
            quantiles=dict(zip(("0.5", "0.9", "0.99"), quantiles.tolist(), strict=True)),
            centres=[CentreDoc(atom=i, species=frame[i].symbol, uncertainty=float(result.values[i])) for i in centres],
            **stamp(),
        )

    def _screened(
        self,
        store: ArtifactStore,
        segment: SegmentDoc,
        learner: LearnerVersion | LearnerFiles,
        uncertainty: Uncertainty,
        frame: Atoms,
        threshold: float,
    ) -> ScreenedFrame:
        """Choose centres; what the segment's last check found of the atoms, by this model and threshold, is not found again."""
        known = None
        if segment.screened is not None and segment.model_version == learner.version:
            known = load_screened(store, segment.screened, threshold)
        if known is None:
            return ScreenedFrame.of(uncertainty, frame, threshold, self.max_centres)
        return ScreenedFrame.of(uncertainty, frame, threshold, self.max_centres, known.values, known.triggering)
