"""Stage 6: the force field learns a round's labels, then the distribution takes in their environments."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal

import numpy as np
from ase import Atoms
from jobflow import Maker
from pydantic import Field

from idealflow.core import ForceFieldUpdate, Uncertainty
from idealflow.forcefields import Consolidating, ForceField
from idealflow.former_names import formerly
from idealflow.provenance import centre_force_error
from idealflow.schemas import Artifact, LearnerVersion, ModelUpdateDoc, StageContext, SubstructureDoc
from idealflow.storage import ArtifactStore
from idealflow.workflow.frames.encode import labelled_atoms, load_frame, with_core_forces
from idealflow.workflow.jobs.identity import StableName, known_to_0_1
from idealflow.workflow.jobs.job_store import current_store
from idealflow.workflow.jobs.keys import child_seed, generator, settings_key
from idealflow.workflow.jobs.stage import artifact_store, stage, stamp, work_directory
from idealflow.workflow.learner.guard import Guard
from idealflow.workflow.learner.ledger import Draw, Ledger
from idealflow.workflow.learner.stretches import Stretches
from idealflow.workflow.learner.trial import Effort, Verdict, attempts, draw, mean_errors, shift_of
from idealflow.workflow.learner.version import (
    Start,
    load_consolidated,
    load_force_field_artifact,
    load_uncertainty_artifact,
    store_learner,
)
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
        Gradient steps of an update.
    n_replay
        Earlier structures trained on together with the new ones.
    learning_rate
        Step size of the optimiser, whose state is kept with the checkpoint.
    joins
        Which atoms of a substructure join the distribution: ``all`` or only its untouched ``core``.
    covers
        What asks for no further label once it is learned: the ``centre`` of each substructure; or, of a frame that was labelled
        ``whole``, each of its atoms that is less known than the average, since their environments are labelled as they are, too.
    mask_shell_forces
        Leave the forces of shell atoms out of the loss, in updates, replays, consolidations and new fits.
    n_validation
        Size of the validation set, on which an update is tested: at most so many held-out structures, and as many learned ones.
    reject_factor
        An update whose mean force error on the validation set grows by more than this factor, and beyond that of the new labels,
        is rejected: it is tried once more at a lower rate, then from the last consolidated version. If none may stay, the labels
        wait for the next consolidation.
    energy_reject_factor
        The same for the energy error.
    energy_reject_floor
        eV/atom: a smaller energy error on the validation set is noise, and counts as this where its growth is judged.
    max_steps
        Budget of gradient steps. While the new labels are not learned, stretches of ``n_steps`` follow, up to so many steps.
    learned_within
        The new labels are learned when their force error is at most so many times that of the validation set.
    replay
        How earlier structures are drawn: by their ``errors``, or ``uniform``.
    consolidate_every
        Updates after which all data are learned together, as at the end of the campaign; 0: never.
    consolidation_steps
        Gradient steps of a consolidation; the last one takes three times as many.
    consolidation_learning_rate
        Highest step size of a consolidation; None: the force field's own, 8e-3 of the built-in one and 2e-3 of others. Once
        one did not help, later ones take a quarter of it.
    consolidation_start
        Weights that a consolidation begins with: those of the last ``consolidated`` version, or the ``present`` ones.
    consolidation_share
        Most that consolidations may cost, as a share of what dynamics and other training have cost: counted in atoms times steps,
        so that results do not depend on a clock. One without which the dynamics cannot go on, after a blow-up, may cost as much
        again.

    Examples
    --------
    The label of round 5 of the sample campaign, learned once more by its last force field:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from ase.build import bulk
    >>> from jobflow import run_locally
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> from idealflow.provenance import sample_campaign
    >>> from idealflow.workflow.folder.directory import CampaignDirectory
    >>> campaign = sample_campaign()
    >>> folder = CampaignDirectory(campaign.folder.path)
    >>> u = UncertaintyModel.fit([bulk("Cu")], SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> known = {"force_field": campaign.model(), "uncertainty": u, "ledger": Ledger(), "before": None}
    >>> learner = store_learner(campaign.artifacts, Path(tempfile.mkdtemp()), 4, **known)
    >>> context = StageContext(campaign="tiny", round=5, seed=1, artifacts=folder.artifacts, work="work")
    >>> update = ModelUpdateMaker(n_steps=2).make(context, learner, frames={})
    >>> doc = run_locally(update, store=folder.job_store(), log=False)[update.uuid][1].output
    >>> doc.decision, doc.learned, doc.version_after
    ('accepted', ['tiny/w0000/s000000000060/a000000068/t00'], 5)
    """

    n_steps: Annotated[int, Field(ge=1)] = 20
    n_replay: Annotated[int, Field(ge=0)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    joins: Literal["all", "core"] = "all"
    covers: Literal["centre", "whole"] = "centre"
    mask_shell_forces: bool = False
    n_validation: Annotated[int, Field(ge=1)] = 8
    reject_factor: Annotated[float, Field(gt=1)] = 3.0
    energy_reject_factor: Annotated[float, Field(gt=1)] = 2.0
    energy_reject_floor: Annotated[float, Field(ge=0)] = 2e-4
    max_steps: Annotated[int, Field(ge=1)] = 60
    learned_within: Annotated[float, Field(gt=0)] = 1.5
    replay: Draw = "errors"
    consolidate_every: Annotated[int, Field(ge=0)] = 10
    consolidation_steps: Annotated[int, Field(ge=1)] = 2000
    consolidation_learning_rate: Annotated[float, Field(gt=0)] | None = None
    consolidation_start: Start = "consolidated"
    consolidation_share: Annotated[float, Field(gt=0)] = 1.0
    name: str = "model update"

    def as_dict(self) -> dict[str, Any]:
        """Return the MSON form; what 0.1.0 did not know is left out at its default, so that hashes equal those without it."""
        found = super().as_dict()
        known = (*known_to_0_1("ModelUpdateMaker"), "name")
        added = {entry.name for entry in fields(ModelUpdateMaker) if entry.name not in known}
        for entry in fields(self):
            if entry.name in added and found[entry.name] == entry.default:
                del found[entry.name]
        return found

    @stage(output_schema=ModelUpdateDoc)
    def make(
        self,
        context: StageContext,
        learner: LearnerVersion,
        frames: dict[str, Artifact | None],
        waits_for: Sequence[object] = (),  # noqa: ARG002  # references that order the jobs; failed parents resolve to None
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
            (round, walker, step, atom) of earlier labels whose job was lost; those that have arrived since are learned, too.
        label
            The present labeller's Maker; labels by other methods do not count. None in jobs of earlier versions, where all count.
        """
        now = _Round(context, artifact_store(context), learner, frames)
        ledger = Ledger.load(now.store, learner.ledger)

        labels = collect(current_store(), context, ledger, lost, label)
        verdict = self._trained(now, ledger, labels.accepted) if labels.accepted else Verdict(None, None)
        uncertainty, after = self._recorded(now, ledger, labels, verdict, lift_quarantine)

        return ModelUpdateDoc(
            version_before=learner.version,
            version_after=after.version,
            **_outcome(verdict, labels),
            consolidates=isinstance(load_force_field_artifact(now.store, learner), Consolidating),
            centre_force_errors=_centre_errors(now, labels.accepted),
            n_samples=dict(uncertainty.n_samples),
            force_shift=shift_of(load_force_field_artifact(now.store, after)),
            too_few=uncertainty.too_few,
            learner=after,
            **stamp(),
        )

    def _trained(self, now: _Round, ledger: Ledger, accepted: Sequence[SubstructureDoc]) -> Verdict:
        """Train copies of the force field on the new labels and a replay, until one may stay."""
        seed, version = now.context.seed, now.learner.version
        rng = generator(seed, 1, version)
        drawn = (self.n_replay, self.n_validation, rng, self.replay, self.mask_shell_forces)
        known = draw(current_store(), now.store, ledger, *drawn)
        effort = Effort(self.n_steps, self.max_steps, self.learned_within, self.learning_rate)
        learned = settings_key(
            [
                [[doc.request_key, doc.geometry_key, doc.energy] for doc in accepted],
                [known.replay_keys, known.validation_keys, asdict(effort), self.mask_shell_forces],
            ]
        )
        work = work_directory(now.context, "stretches")  # an update that was killed goes on from what it left there
        kept = Stretches(work / learned)
        verdict = attempts(
            load_force_field_artifact(now.store, now.learner),
            lambda: load_consolidated(now.store, now.learner),
            [_structure(doc, core_forces=self.mask_shell_forces) for doc in accepted],
            known,
            effort,
            Guard(self.reject_factor, self.energy_reject_factor, self.energy_reject_floor),
            child_seed(seed, 2, version),
            kept,
        )
        shutil.rmtree(work)
        return verdict

    def _recorded(
        self, now: _Round, ledger: Ledger, labels: RoundLabels, verdict: Verdict, lift_quarantine: bool
    ) -> tuple[Uncertainty, LearnerVersion]:
        """Store the version after the round: what was learned joins the distribution, centres that were not are quarantined."""
        uncertainty = load_uncertainty_artifact(now.store, now.learner)
        if not (labels.accepted or labels.failed_centres or lift_quarantine):
            return uncertainty, now.learner
        uncertainty = uncertainty.copy()
        if lift_quarantine:
            uncertainty.forget_quarantined()
        now.quarantine(uncertainty, labels.failed_centres)
        ledger.forget_waiting(labels.keys)
        if verdict.rejected is not None:
            now.quarantine(uncertainty, labels.accepted)
            ledger.wait(labels.keys)
        if verdict.learned is not None:
            self.join(uncertainty, verdict.learned.force_field, labels.accepted, now.is_frame)
            verdict.learned.enter(ledger, labels.keys)
        after = store_learner(
            now.store,
            work_directory(now.context, "update", fresh=True),
            now.learner.version + 1,
            force_field=None if verdict.learned is None else verdict.learned.force_field,
            uncertainty=uncertainty,
            ledger=None if verdict.trial is None else ledger,
            before=now.learner,
            largest_force=max((_largest_force(doc) for doc in labels.accepted), default=0.0),
        )
        return uncertainty, after

    def join(
        self,
        uncertainty: Uncertainty,
        force_field: ForceField,
        accepted: Sequence[SubstructureDoc],
        is_frame: Callable[[SubstructureDoc], bool] = lambda _: False,
    ) -> None:
        """Let the environments of labels join the distribution, and their centres cover what is like them.

        Parameters
        ----------
        uncertainty
            Changed.
        force_field
            What learned them.
        accepted
            The labels.
        is_frame
            Whether a label is of a whole frame, every atom as it stands there; then :attr:`covers` counts.
        """
        structures = [_structure(doc, core_forces=self.mask_shell_forces) for doc in accepted]
        masks = None
        if self.joins == "core":
            masks = [np.isin(np.arange(len(atoms)), doc.core) for atoms, doc in zip(structures, accepted, strict=True)]
        learned = ForceFieldUpdate(force_field, self.n_steps, self.learning_rate, self.n_replay)
        uncertainty.update(structures, masks, learned)
        for atoms, doc in zip(structures, accepted, strict=True):
            covering = [doc.centre_of_cell]
            if self.covers == "whole" and is_frame(doc):
                covering += [n for n in np.flatnonzero(uncertainty(atoms) > 1.0).tolist() if n != doc.centre_of_cell]
            uncertainty.cover(atoms, covering)


@dataclass(frozen=True)
class _Round:
    """The surroundings of an update: context, artifacts, the version before it, and the screened frame of each walker."""

    context: StageContext
    store: ArtifactStore
    learner: LearnerVersion
    frames: dict[str, Artifact | None]

    def is_frame(self, doc: SubstructureDoc) -> bool:
        """Whether a label is of the round's whole frame, every atom as it stands there."""
        frame = self.frames.get(str(doc.walker)) if doc.round == self.context.round else None
        if frame is None or len(doc.core) < len(doc.parent_indices):
            return False
        return len(doc.parent_indices) == len(load_frame(self.store, frame))

    def quarantine(self, uncertainty: Uncertainty, docs: Sequence[SubstructureDoc]) -> None:
        """Let centres stop triggering, although nothing was learned from them."""
        for doc in docs:
            frame = self.frames.get(str(doc.walker)) if doc.round == self.context.round else None
            if frame is not None:
                uncertainty.cover(load_frame(self.store, frame), [doc.atom], quarantined=True)
            else:  # the frame of an earlier round is no longer known, but its labelled cell is
                uncertainty.cover(labelled_atoms(doc), [doc.centre_of_cell], quarantined=True)


def _centre_errors(now: _Round, accepted: Sequence[SubstructureDoc]) -> list[float]:
    """Compute the force error at each centre before it is learned, eV/Å."""
    if not accepted:
        return []
    calculator = load_force_field_artifact(now.store, now.learner).calculator()
    return [centre_force_error(calculator, labelled_atoms(doc), doc.centre_of_cell) for doc in accepted]


def _structure(doc: SubstructureDoc, *, core_forces: bool) -> Atoms:
    return with_core_forces(labelled_atoms(doc), doc.core) if core_forces else labelled_atoms(doc)


def _largest_force(doc: SubstructureDoc) -> float:
    """Largest force of a label on an atom of the core, which stands as in the frame; eV/Å."""
    return float(np.linalg.norm(labelled_atoms(doc).get_forces()[doc.core], axis=1).max())


def _outcome(verdict: Verdict, labels: RoundLabels) -> dict[str, Any]:
    """Return the document's fields of the round's labels: what became of them, and errors before and after."""
    trial, failed, quarantined = verdict.trial, labels.failed_centres, labels.failed_centres
    if trial is None:
        decision = "nothing_new"
        reason = f"{len(failed)} centres quarantined, no accepted label" if failed else "nothing triggered"
    elif verdict.rejected is not None:
        decision, reason, quarantined = "rejected", verdict.rejected, labels.last_attempts
    else:
        tries = f" at attempt {len(verdict.refused) + 1}" if verdict.refused else ""
        decision, reason = "accepted", f"errors on held-out structures stayed within bounds{tries}"
    return {
        "decision": decision,
        "reason": reason,
        "accepted": labels.keys,
        "learned": labels.keys if decision == "accepted" else [],
        "failed": [doc.request_key for doc in labels.failed],
        "causes": labels.causes,
        "uncropped": labels.n_uncropped,
        "quarantined": [doc.request_key for doc in quarantined],
        "replayed": trial.known.replay_keys if trial else [],
        "new_before": mean_errors(trial.new_before) if trial else None,
        "new_after": mean_errors(trial.new_after) if trial else None,
        "held_out_before": mean_errors(trial.validation_before) if trial else None,
        "held_out_after": mean_errors(trial.validation_after) if trial else None,
        "labelled_frames": sorted({(doc.walker, doc.step) for doc in labels.accepted}),
        "lost": labels.lost,
        "steps": trial.steps if trial else 0,
        "atom_steps": trial.atom_steps if trial else 0,
        "refused": list(verdict.refused),
        "label_seconds": float(sum(doc.seconds for doc in labels.accepted)),
    }
