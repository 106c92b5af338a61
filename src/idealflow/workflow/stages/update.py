"""Stage 6: the force field learns a round's labels, then the distribution takes in their environments."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from ase import Atoms
from jobflow import Maker
from pydantic import Field

from idealflow.forcefields import ForceField
from idealflow.former_names import formerly
from idealflow.provenance import centre_force_error
from idealflow.schemas import Artifact, LearnerVersion, ModelUpdateDoc, StageContext, SubstructureDoc, TrainingErrors
from idealflow.storage import ArtifactStore
from idealflow.workflow.frames.encode import labelled_atoms, load_frame
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.jobs.keys import child_seed, generator
from idealflow.workflow.jobs.stage import artifact_store, committed, current_store, stage, work_directory
from idealflow.workflow.learner.ledger import Ledger, fetch_structures
from idealflow.workflow.learner.uncertainties import Uncertainty, learn
from idealflow.workflow.learner.version import load_force_field_artifact, load_uncertainty_artifact, store_learner
from idealflow.workflow.stages.label import LabelMaker
from idealflow.workflow.stages.lost_labels import LostLabel, late_labels, lost_labels

__all__ = ["ModelUpdateMaker", "mean_errors"]


@formerly("category")
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
    n_judges
        Held-out and earlier structures (at most so many of each) by which an update is judged.
    reject_factor
        An update whose mean error on them grows by more than this factor is rejected.
    """

    n_steps: Annotated[int, Field(ge=1)] = 20
    n_replay: Annotated[int, Field(ge=0)] = 16
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    joins: Literal["all", "core"] = "all"
    mask_shell_forces: bool = False
    n_judges: Annotated[int, Field(ge=1)] = 8
    reject_factor: Annotated[float, Field(gt=1)] = 3.0
    name: str = "model update"

    @stage(output_schema=ModelUpdateDoc)
    def make(
        self,
        context: StageContext,
        learner: LearnerVersion,
        frames: dict[str, Any],
        waits_for: Sequence[Any] = (),  # noqa: ARG002  # references that order the jobs; failed parents resolve to None
        lift_quarantine: bool = False,
        lost: Sequence[Sequence[int]] = (),
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
        if (done := committed(ModelUpdateDoc)) is not None:
            return done
        started = time.perf_counter()
        store = artifact_store(context)
        docs = [doc for doc in _round_labels(context) if label is None or label.learnable(doc)]
        open_requests: list[LostLabel] = [(entry[0], entry[1], entry[2], entry[3]) for entry in lost]
        late = late_labels(current_store(), context, open_requests)
        # an atom that was asked for again, under the same key, may have been learned meanwhile
        learned_keys = set(Ledger.load(store, learner.ledger).keys) if late else set()
        arrived = [
            doc for doc in late if doc.request_key not in learned_keys and (label is None or label.learnable(doc))
        ]
        accepted = sorted(
            [*arrived, *(doc for doc in docs if doc.state == "accepted")], key=lambda doc: doc.request_key
        )
        final = {(doc.walker, doc.step, doc.atom): doc for doc in docs}  # in key order: the last attempt stays
        failed_centres = [doc for doc in final.values() if doc.state == "failed"]

        uncertainty = load_uncertainty_artifact(store, learner)
        if failed_centres or accepted or lift_quarantine:
            uncertainty = uncertainty.copy()
        if lift_quarantine:
            uncertainty.forget_quarantined()
        for doc in failed_centres:
            uncertainty.cover(load_frame(store, _frame(frames, doc)), [doc.atom], quarantined=True)
        trial = self._trained(context, store, learner, accepted) if accepted else None
        if trial is not None and trial.rejected is None:
            self._join(uncertainty, trial.force_field, accepted)
        elif trial is not None:
            for doc in accepted:
                if doc.round == context.round:
                    uncertainty.cover(load_frame(store, _frame(frames, doc)), [doc.atom], quarantined=True)
                else:
                    uncertainty.cover(labelled_atoms(doc), [doc.centre], quarantined=True)

        learned = trial is not None and trial.rejected is None
        version = learner.version + 1 if (trial is not None or failed_centres or lift_quarantine) else learner.version
        after = learner
        if version != learner.version:
            directory = work_directory(context, "update", fresh=True)
            after = store_learner(
                store,
                directory,
                version,
                force_field=trial.force_field if trial is not None and learned else None,
                uncertainty=uncertainty,
                ledger=trial.ledger if trial is not None and learned else None,
                before=learner,
            )
        decision, reason = _decision(trial, failed_centres)
        return ModelUpdateDoc(
            campaign=context.campaign,
            round=context.round,
            version_before=learner.version,
            version_after=version,
            decision=decision,
            reason=reason,
            accepted=[doc.request_key for doc in accepted],
            learned=[doc.request_key for doc in accepted] if learned else [],
            failed=[doc.request_key for doc in docs if doc.state == "failed"],
            causes=dict(Counter(_cause(doc) for doc in docs if doc.state == "failed")),
            uncropped=sum(doc.structure is None for doc in docs),
            quarantined=[doc.request_key for doc in (failed_centres if learned or trial is None else final.values())],
            replayed=trial.replayed if trial is not None else [],
            centre_force_errors=self._centre_errors(store, learner, accepted),
            new_before=trial.new_before if trial is not None else None,
            new_after=trial.new_after if trial is not None else None,
            held_out_before=trial.judged_before if trial is not None else None,
            held_out_after=trial.judged_after if trial is not None else None,
            n_samples=dict(uncertainty.n_samples),
            too_few=uncertainty.too_few,
            learner=after,
            labelled_frames=sorted({(doc.walker, doc.step) for doc in accepted}),
            lost=sorted(
                {*open_requests, *lost_labels(current_store(), context, docs)}
                - {(doc.round, doc.walker, doc.step, doc.atom) for doc in late}
            ),
            label_seconds=float(sum(doc.seconds for doc in accepted)),
            seconds=time.perf_counter() - started,
        )

    def _trained(
        self, context: StageContext, store: ArtifactStore, learner: LearnerVersion, accepted: Sequence[SubstructureDoc]
    ) -> _Trial:
        """Train a copy of the force field on the new labels and a replay, and judge it."""
        ledger = Ledger.load(store, learner.ledger)
        rng = generator(context.seed, 1, learner.version)
        replay_keys = ledger.replay(self.n_replay, rng)
        judge_keys = ledger.judges(self.n_judges, rng, exclude=replay_keys)
        new = [_masked(doc, self.mask_shell_forces) for doc in accepted]
        fetched = fetch_structures(current_store(), store, replay_keys + judge_keys)
        replay, judges = fetched[: len(replay_keys)], fetched[len(replay_keys) :]

        force_field = load_force_field_artifact(store, learner).copy()
        new_before, judged_before = force_field.errors(new), _errors(force_field, judges)
        seed = child_seed(context.seed, 2, learner.version)
        force_field.update(new, replay, steps=self.n_steps, lr=self.learning_rate, seed=seed)
        new_after, judged_after = force_field.errors(new), _errors(force_field, judges)

        trial = _Trial(
            force_field=force_field,
            ledger=ledger,
            replayed=replay_keys,
            new_before=mean_errors(new_before),
            new_after=mean_errors(new_after),
            judged_before=mean_errors(judged_before),
            judged_after=mean_errors(judged_after),
            rejected=_rejection(judged_before, judged_after, new_before, new_after, self.reject_factor),
        )
        if trial.rejected is None:
            if replay:
                ledger.refresh(replay_keys, force_field.errors(replay))
            ledger.refresh(judge_keys, judged_after)
            ledger.add([doc.request_key for doc in accepted], new_after)
        return trial

    def _centre_errors(
        self, store: ArtifactStore, learner: LearnerVersion, accepted: Sequence[SubstructureDoc]
    ) -> list[float]:
        """Force error at each centre before it is learned, eV/Å."""
        if not accepted:
            return []
        calculator = load_force_field_artifact(store, learner).calculator()
        return [centre_force_error(calculator, labelled_atoms(doc), doc.centre) for doc in accepted]

    def _join(self, uncertainty: Uncertainty, force_field: ForceField, accepted: Sequence[SubstructureDoc]) -> None:
        """The substructures' environments join the distribution and their centres cover."""
        structures = [_masked(doc, self.mask_shell_forces) for doc in accepted]
        masks = None
        if self.joins == "core":
            masks = [np.isin(np.arange(len(atoms)), doc.core) for atoms, doc in zip(structures, accepted, strict=True)]
        learn(
            uncertainty,
            structures,
            masks,
            force_field,
            steps=self.n_steps,
            learning_rate=self.learning_rate,
            n_replay=self.n_replay,
        )
        for atoms, doc in zip(structures, accepted, strict=True):
            uncertainty.cover(atoms, [doc.centre])


@dataclass(frozen=True)
class _Trial:
    """A trained copy of the force field and the verdict on it."""

    force_field: ForceField
    ledger: Ledger
    replayed: list[str]
    new_before: TrainingErrors | None
    new_after: TrainingErrors | None
    judged_before: TrainingErrors | None
    judged_after: TrainingErrors | None
    rejected: str | None


def mean_errors(errors: np.ndarray) -> TrainingErrors | None:
    """Mean of (n, 3) errors (eV/atom, eV/Å, eV/Å³); None for no structures, stress None where no label has one."""
    if len(errors) == 0:
        return None
    stress = errors[:, 2][np.isfinite(errors[:, 2])]
    return TrainingErrors(
        energy=float(errors[:, 0].mean()),
        forces=float(errors[:, 1].mean()),
        stress=float(stress.mean()) if stress.size else None,
    )


def _round_labels(context: StageContext) -> list[SubstructureDoc]:
    """All final label documents of the round, in key order."""
    query = {"output.kind": "substructure", "output.campaign": context.campaign, "output.round": context.round}
    docs = [
        SubstructureDoc.model_validate(entry["output"])
        for entry in current_store().query(query, properties=["output"], load=True)
    ]
    return sorted(docs, key=lambda doc: doc.request_key)


def _cause(doc: SubstructureDoc) -> str:
    """Why a label failed, as it is counted: where there was no crop without the figures of this one search."""
    cause = doc.cause or "unknown"
    return cause.split(";")[0] if doc.structure is None else cause


def _frame(frames: dict[str, Any], doc: SubstructureDoc) -> Artifact:
    return Artifact.model_validate(frames[str(doc.walker)])


def _masked(doc: SubstructureDoc, mask_shell: bool) -> Atoms:
    atoms = labelled_atoms(doc)
    if mask_shell:
        weight = np.zeros(len(atoms))
        weight[doc.core] = 1.0
        atoms.set_array("force_weight", weight)
    return atoms


def _errors(force_field: ForceField, structures: Sequence[Atoms]) -> np.ndarray:
    return force_field.errors(structures) if structures else np.zeros((0, 3))


def _loss(errors: np.ndarray) -> float:
    return float(np.nansum(errors * np.array([1.0, 1.0, 0.1]), axis=1).mean())


def _rejection(
    judged_before: np.ndarray, judged_after: np.ndarray, new_before: np.ndarray, new_after: np.ndarray, factor: float
) -> str | None:
    """Why the update is rejected, or None."""
    finite = [np.isfinite(errors[:, :2]).all() for errors in (judged_after, new_after)]
    if not all(finite):
        return "the updated force field gives errors that are not finite"
    if len(judged_after) and _loss(judged_after) > factor * max(_loss(judged_before), _loss(new_after), 1e-3):
        return (
            f"the error on held-out structures grew from {_loss(judged_before):.4f} to {_loss(judged_after):.4f}, "
            f"more than reject_factor = {factor:g} allows"
        )
    if _loss(new_after) > factor * max(_loss(new_before), 1e-3):
        return f"the error on the new labels grew from {_loss(new_before):.4f} to {_loss(new_after):.4f}"
    return None


def _decision(trial: _Trial | None, failed: Sequence[SubstructureDoc]) -> tuple[Any, str]:
    if trial is None:
        return "nothing_new", f"{len(failed)} centres quarantined, no accepted label" if failed else "nothing triggered"
    if trial.rejected is not None:
        return "rejected", trial.rejected
    return "accepted", "errors on held-out structures stayed within bounds"
