"""Between rounds: the force field learns all its data together, and stays only if that helped."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from jobflow import Maker
from numpy.typing import NDArray
from pydantic import Field

from idealflow.core import FollowsForceField, Uncertainty
from idealflow.forcefields import Consolidating, ForceField, TrainReport
from idealflow.schemas import ConsolidationDoc, LearnerVersion, StageContext
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.jobs.job_store import current_store
from idealflow.workflow.jobs.keys import child_seed
from idealflow.workflow.jobs.progress import Progress, emit
from idealflow.workflow.jobs.stage import artifact_store, stage, stamp, work_directory
from idealflow.workflow.learner.guard import judged
from idealflow.workflow.learner.ledger import Ledger, fetch_structures
from idealflow.workflow.learner.trial import mean_errors, shift_of
from idealflow.workflow.learner.version import (
    Start,
    load_consolidated,
    load_force_field_artifact,
    load_uncertainty_artifact,
    store_learner,
)
from idealflow.workflow.stages.label import LabelMaker
from idealflow.workflow.stages.round_labels import substructures_of
from idealflow.workflow.stages.update import ModelUpdateMaker

__all__ = ["GENTLER", "LAST", "ConsolidationMaker"]

_RATE = 2e-3  # of a force field that names none
#: of the rate, once a consolidation did not help
GENTLER = 0.25
#: the last consolidation takes so many times the steps
LAST = 3

Errors = NDArray[np.float64]


@dataclass
class ConsolidationMaker(StableName, Maker):
    """Learn all data together.

    Attributes
    ----------
    steps
        Gradient steps; the last consolidation of a campaign takes three times as many.
    learning_rate
        Highest step size; None: the force field's own (``consolidation_rate``), or 2e-3 if it has none. A quarter of it is taken
        once a consolidation of the campaign did not help.
    start
        Weights that it begins with: those of the last ``consolidated`` version, so that nothing hangs on the way of the updates
        since, or the ``present`` ones.
    update
        The campaign's updates: which forces count, and what of a label that none of them could learn joins the distribution.

    Examples
    --------
    With the last force field of the sample campaign, which has seen its 13 labels few at a time:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from ase.build import bulk
    >>> from jobflow import run_locally
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> from idealflow.provenance import sample_campaign
    >>> from idealflow.workflow.folder.directory import CampaignDirectory
    >>> campaign = sample_campaign()
    >>> folder = CampaignDirectory(campaign.folder.path)
    >>> ledger = Ledger.load(campaign.artifacts, campaign.state().learner.ledger)
    >>> u = UncertaintyModel.fit([bulk("Cu")], SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> known = {"force_field": campaign.model(), "uncertainty": u, "ledger": ledger, "before": None}
    >>> learner = store_learner(campaign.artifacts, Path(tempfile.mkdtemp()), 4, **known)
    >>> context = StageContext(campaign="tiny", round=9, seed=1, artifacts=folder.artifacts, work="work")
    >>> job = ConsolidationMaker(steps=40, learning_rate=5e-4).make(context, learner, atom_steps=10**6, last=True)
    >>> doc = run_locally(job, store=folder.job_store(), log=False)[job.uuid][1].output
    >>> doc.n_structures, doc.steps, doc.decision, doc.version_after
    (12, 120, 'accepted', 5)
    >>> doc.all_after.forces < doc.all_before.forces
    True
    """

    steps: Annotated[int, Field(ge=1)] = 2000
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    start: Start = "consolidated"
    update: ModelUpdateMaker = field(default_factory=ModelUpdateMaker)
    name: str = "consolidation"

    @stage(output_schema=ConsolidationDoc)
    def make(
        self,
        context: StageContext,
        learner: LearnerVersion,
        atom_steps: int,
        last: bool,
        gentler: bool = False,
        label: LabelMaker | None = None,
    ) -> ConsolidationDoc:
        """Train a copy of the force field on all labels, and store it as the next version if its errors are lower.

        Labels that an update refused to learn are among them; if the version stays, they are learned.

        Parameters
        ----------
        atom_steps
            What it may cost: atoms in a batch, summed over the steps.
        last
            Whether it is the last of the campaign.
        gentler
            Whether one of the campaign did not help.
        label
            The present labeller's Maker; labels by other methods wait on. None: all count.
        """
        store = artifact_store(context)
        ledger = Ledger.load(store, learner.ledger)
        waited = substructures_of(current_store(), context.campaign, ledger.waiting)
        waited = [doc for doc in waited if label is None or label.learnable(doc)]
        waiting = [doc.request_key for doc in waited]
        structures = fetch_structures(
            current_store(), store, [*ledger.keys, *waiting], core_forces=self.update.mask_shell_forces
        )
        held = np.array([*ledger.held_out, *[False] * len(waiting)], dtype=bool)
        training = [atoms for atoms, out in zip(structures, held, strict=True) if not out]

        before = load_force_field_artifact(store, learner)
        begun = load_consolidated(store, learner) if self.start == "consolidated" else None
        work, trained = work_directory(context, "consolidate"), (begun or before).copy()
        own_rate: float = getattr(trained, "consolidation_rate", _RATE)
        rate = own_rate if self.learning_rate is None else self.learning_rate
        report: TrainReport | None = None
        if isinstance(trained, Consolidating) and training and atom_steps > 0:
            report = trained.consolidate(
                training,
                steps=self.steps * (LAST if last else 1),
                lr=rate * (GENTLER if gentler else 1.0),
                seed=child_seed(context.seed, 10, learner.version),
                atom_steps=atom_steps,
                progress=_told,
                checkpoint=work / "training",
            )
        errors_before = before.errors(structures)
        errors = None
        if report is not None and report.steps:
            errors = np.empty((len(structures), 3))
            errors[~held] = report.errors
            if held.any():
                errors[held] = trained.errors([structures[i] for i in np.flatnonzero(held)])
        decision, reason = _judged(before, atom_steps, errors_before, errors, held)
        after = learner
        if decision == "accepted" and errors is not None:
            ledger.learn_waiting(waiting)
            ledger.errors = errors.tolist()
            uncertainty = _led(load_uncertainty_artifact(store, learner), trained)
            if waited:
                self.update.join(uncertainty, trained, waited)
            after = store_learner(
                store,
                work_directory(context, "consolidated", fresh=True),
                learner.version + 1,
                force_field=trained,
                uncertainty=uncertainty,
                ledger=ledger,
                before=learner,
                consolidated=True,
            )
        shutil.rmtree(work)
        return ConsolidationDoc(
            version_before=learner.version,
            version_after=after.version,
            decision=decision,
            reason=reason,
            learned=waiting if decision == "accepted" else [],
            last=last,
            n_structures=len(training),
            steps=report.steps if report else 0,
            atom_steps=report.atom_steps if report else 0,
            held_out_before=mean_errors(errors_before[held]),
            held_out_after=None if errors is None else mean_errors(errors[held]),
            all_before=mean_errors(errors_before[~held]),
            all_after=None if errors is None else mean_errors(errors[~held]),
            force_shift=shift_of(load_force_field_artifact(store, after)),
            learner=after,
            **stamp(),
        )


def _told(step: int, steps: int, loss: float) -> None:
    emit(Progress("consolidation", step=step, n_steps=steps, loss=loss))


def _led(uncertainty: Uncertainty, force_field: ForceField) -> Uncertainty:
    """The uncertainty with the new force field in the lead, where it follows one."""
    return uncertainty.led_by(force_field) if isinstance(uncertainty, FollowsForceField) else uncertainty.copy()


def _judged(
    force_field: ForceField, atom_steps: int, before: Errors, after: Errors | None, held: NDArray[np.bool_]
) -> tuple[Literal["accepted", "discarded", "skipped"], str]:
    """Decide, and say why."""
    if not isinstance(force_field, Consolidating):
        return "skipped", f"force field {force_field.name!r} has no consolidate(), so it goes on by updates alone"
    if after is None:
        return (
            "skipped",
            f"its share of the campaign's work, {max(0, atom_steps)} atoms times steps, is too small to help",
        )
    helped, reason = judged(before, after, held)
    return "accepted" if helped else "discarded", reason
