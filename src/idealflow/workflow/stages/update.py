"""Stage 6: the force field learns a round's labels, then the distribution takes in their environments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from ase import Atoms
from jobflow import Maker
from pydantic import Field

from idealflow.core import ForceFieldUpdate, Uncertainty
from idealflow.forcefields import ForceField
from idealflow.former_names import formerly
from idealflow.provenance import centre_force_error
from idealflow.schemas import Artifact, LearnerVersion, ModelUpdateDoc, StageContext, SubstructureDoc
from idealflow.storage import ArtifactStore
from idealflow.workflow.frames.encode import labelled_atoms, load_frame
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.jobs.keys import child_seed, generator
from idealflow.workflow.jobs.stage import artifact_store, current_store, stage, stamp, work_directory
from idealflow.workflow.learner.ledger import Ledger
from idealflow.workflow.learner.trial import Trial, draw, mean_errors, rejection, train
from idealflow.workflow.learner.version import load_force_field_artifact, load_uncertainty_artifact, store_learner
from idealflow.workflow.stages.label import LabelMaker
from idealflow.workflow.stages.lost_labels import LostLabel
from idealflow.workflow.stages.round_labels import RoundLabels, collect

__all__ = ["ModelUpdateMaker"]


@formerly("category", n_judges="n_validation")
@dataclass
class ModelUpdateMaker(StableName, Maker):
    """Update force field, distribution and coverage with the labels of a round.

    Attributes
    ----------
    n_steps
        Gradient steps per update: a number, never seconds.
    n_replay
        Earlier structures trained on together with the new ones, drawn with p ∝ MAE_E + MAE_F + 0.1 MAE_S.
    learning_rate
        Step size of the optimiser, whose state is kept with the checkpoint.
    joins
        Which atoms of a substructure join the distribution: ``all`` or only its untouched ``core``.
    mask_shell_forces
        Leave the forces of shell atoms out of the loss.
    n_validation
        Size of the validation set: held-out and earlier structures, at most so many of each, on which an update is tested.
    reject_factor
        An update whose mean error on the validation set grows by more than this factor is rejected.
    """

    n_steps: Annotated[int, Field(ge=1)] = 20
    n_replay: Annotated[int, Field(ge=0)] = 16
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    joins: Literal["all", "core"] = "all"
    mask_shell_forces: bool = False
    n_validation: Annotated[int, Field(ge=1)] = 8
    reject_factor: Annotated[float, Field(gt=1)] = 3.0
    name: str = "model update"

    @stage(output_schema=ModelUpdateDoc)
    def make(
        self,
        context: StageContext,
        learner: LearnerVersion,
        frames: dict[str, Artifact | None],
        waits_for: Sequence[Any] = (),  # noqa: ARG002  # references that order the jobs; failed parents resolve to None
        lift_quarantine: bool = False,
        lost: Sequence[LostLabel] = (),
        label: LabelMaker | None = None,
    ) -> ModelUpdateDoc:
        """Learn every accepted label of the round in key order; centres whose label failed are quarantined.

        Parameters
        ----------
        frames
            Walker number → the artifact of its screened frame.
        waits_for
            Outputs of the round's label jobs; only their order matters, the labels are read from the store.
        lift_quarantine
            Forget quarantined centres first (the label settings have changed).
        lost
            (round, walker, step, atom) of earlier labels whose job was lost; those that have arrived since are learned too.
        label
            By which the round's labels are made: others do not count. None in jobs of earlier versions.
        """
        store = artifact_store(context)
        ledger = Ledger.load(store, learner.ledger)
        labels = collect(current_store(), context, ledger, lost, label)

        trial = self._trained(context, store, learner, ledger, labels.accepted) if labels.accepted else None
        rejected = rejection(trial, self.reject_factor) if trial is not None else None
        learned = trial if rejected is None else None

        uncertainty = load_uncertainty_artifact(store, learner)
        changed = bool(labels.accepted or labels.failed_centres or lift_quarantine)
        if changed:
            uncertainty = uncertainty.copy()
        if lift_quarantine:
            uncertainty.forget_quarantined()
        _quarantine(uncertainty, store, context, frames, labels.failed_centres)
        if learned is not None:
            learned.enter(ledger, labels.keys)
            self._join(uncertainty, learned.force_field, labels.accepted)
        elif trial is not None:
            _quarantine(uncertainty, store, context, frames, labels.accepted)
        after = learner
        if changed:
            after = store_learner(
                store,
                work_directory(context, "update", fresh=True),
                learner.version + 1,
                force_field=learned.force_field if learned is not None else None,
                uncertainty=uncertainty,
                ledger=ledger if learned is not None else None,
                before=learner,
            )
        return ModelUpdateDoc(
            **stamp(),
            version_before=learner.version,
            version_after=after.version,
            **_outcome(trial, rejected, labels),
            accepted=labels.keys,
            learned=labels.keys if learned is not None else [],
            failed=[doc.request_key for doc in labels.failed],
            causes=labels.causes,
            uncropped=labels.n_uncropped,
            centre_force_errors=_centre_errors(store, learner, labels.accepted),
            n_samples=dict(uncertainty.n_samples),
            too_few=uncertainty.too_few,
            learner=after,
            labelled_frames=sorted({(doc.walker, doc.step) for doc in labels.accepted}),
            lost=labels.lost,
            label_seconds=float(sum(doc.seconds for doc in labels.accepted)),
        )

    def _trained(
        self,
        context: StageContext,
        store: ArtifactStore,
        learner: LearnerVersion,
        ledger: Ledger,
        accepted: Sequence[SubstructureDoc],
    ) -> Trial:
        """A copy of the force field, trained on the new labels and a replay."""
        rng = generator(context.seed, 1, learner.version)
        return train(
            load_force_field_artifact(store, learner),
            [_masked(doc, self.mask_shell_forces) for doc in accepted],
            draw(current_store(), store, ledger, self.n_replay, self.n_validation, rng),
            steps=self.n_steps,
            learning_rate=self.learning_rate,
            seed=child_seed(context.seed, 2, learner.version),
        )

    def _join(self, uncertainty: Uncertainty, force_field: ForceField, accepted: Sequence[SubstructureDoc]) -> None:
        """The substructures' environments join the distribution and their centres cover."""
        structures = [_masked(doc, self.mask_shell_forces) for doc in accepted]
        masks = None
        if self.joins == "core":
            masks = [np.isin(np.arange(len(atoms)), doc.core) for atoms, doc in zip(structures, accepted, strict=True)]
        learned = ForceFieldUpdate(force_field, self.n_steps, self.learning_rate, self.n_replay)
        uncertainty.update(structures, masks, learned)
        for atoms, doc in zip(structures, accepted, strict=True):
            uncertainty.cover(atoms, [doc.centre_of_cell])


def _quarantine(
    uncertainty: Uncertainty,
    store: ArtifactStore,
    context: StageContext,
    frames: dict[str, Artifact | None],
    docs: Sequence[SubstructureDoc],
) -> None:
    """Let centres stop triggering though nothing was learned of them; of an earlier round's, the frame is no longer at hand."""
    for doc in docs:
        frame = frames.get(str(doc.walker)) if doc.round == context.round else None
        if frame is not None:
            uncertainty.cover(load_frame(store, frame), [doc.atom], quarantined=True)
        else:
            uncertainty.cover(labelled_atoms(doc), [doc.centre_of_cell], quarantined=True)


def _centre_errors(store: ArtifactStore, learner: LearnerVersion, accepted: Sequence[SubstructureDoc]) -> list[float]:
    """Force error at each centre before it is learned, eV/Å."""
    if not accepted:
        return []
    calculator = load_force_field_artifact(store, learner).calculator()
    return [centre_force_error(calculator, labelled_atoms(doc), doc.centre_of_cell) for doc in accepted]


def _masked(doc: SubstructureDoc, mask_shell: bool) -> Atoms:
    atoms = labelled_atoms(doc)
    if mask_shell:
        weight = np.zeros(len(atoms))
        weight[doc.core] = 1.0
        atoms.set_array("force_weight", weight)
    return atoms


def _outcome(trial: Trial | None, rejected: str | None, labels: RoundLabels) -> dict[str, Any]:
    """What became of the update, and its errors."""
    failed = labels.failed_centres
    if trial is None:
        reason = f"{len(failed)} centres quarantined, no accepted label" if failed else "nothing triggered"
        errors = dict.fromkeys(("new_before", "new_after", "held_out_before", "held_out_after"))
        return {"decision": "nothing_new", "reason": reason, "replayed": [], **errors, "quarantined": _keys(failed)}
    return {
        "decision": "accepted" if rejected is None else "rejected",
        "reason": rejected or "errors on held-out structures stayed within bounds",
        "replayed": trial.known.replay_keys,
        "new_before": mean_errors(trial.new_before),
        "new_after": mean_errors(trial.new_after),
        "held_out_before": mean_errors(trial.validation_before),
        "held_out_after": mean_errors(trial.validation_after),
        "quarantined": _keys(failed if rejected is None else labels.last_attempts),
    }


def _keys(docs: Sequence[SubstructureDoc]) -> list[str]:
    return [doc.request_key for doc in docs]
