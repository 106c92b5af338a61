"""What a campaign learned, and how good it is: bootstrap, updates, relabelling, evaluation, lineage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from idealflow.schemas.base import Artifact, Document, StageOutput
from idealflow.schemas.campaign import LearnerVersion, OtherMethod
from idealflow.schemas.labels import SubstructureDoc
from idealflow.schemas.substructures import CropDoc, OfFrame, RelaxationDoc, ScreenDoc, SegmentDoc

__all__ = [
    "BootstrapDoc",
    "ConsolidationDoc",
    "EvaluationDoc",
    "FrameErrors",
    "Lineage",
    "ModelUpdateDoc",
    "RelabelDoc",
    "TrainingErrors",
]


class TrainingErrors(Document):
    """Mean absolute errors of a force field on a set of labelled structures: eV/atom, eV/Å, eV/Å³.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> update = sample_campaign().updates(decision="accepted")[0]
    >>> print(f"{update.new_before.forces:.3f} → {update.new_after.forces:.3f} eV/Å")  # on the labels it learned
    0.040 → 0.031 eV/Å
    """

    energy: float = Field(description="eV/atom")
    forces: float = Field(description="eV/Å")
    stress: float | None = Field(description="eV/Å³, None where no label has a stress")


class NewLearner(StageOutput):
    """Base of the documents of stages that learn."""

    learner: LearnerVersion = Field(description="the version after it")
    too_few: dict[str, int] = Field(
        default_factory=dict,
        description="species → distinct environments, where they are too few to judge others by: everything else of that "
        "species is infinitely uncertain; empty in documents of earlier versions",
    )
    force_shift: float | None = Field(
        default=None,
        description="mean change of the force components, since the pretrained start, on structures outside the campaign, eV/Å; "
        "None without such a start",
    )


class ModelUpdateDoc(NewLearner):
    """One update of force field and distribution: accepted, rejected, or without anything to learn.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> for update in campaign.updates():
    ...     print(update.version_before, update.version_after, update.decision, len(update.learned), update.n_samples)
    0 0 nothing_new 0 {'Cu': 256}
    0 1 accepted 1 {'Cu': 334}
    1 2 accepted 2 {'Cu': 495}
    2 3 accepted 1 {'Cu': 583}
    3 4 accepted 1 {'Cu': 656}
    4 4 nothing_new 0 {'Cu': 656}
    """

    kind: Literal["update"] = "update"
    version_before: int = Field(description="learner version at its start")
    version_after: int = Field(description="equal to `version_before` if nothing was learned")
    decision: Literal["accepted", "rejected", "nothing_new"] = Field(description="what became of it")
    reason: str = Field(description="why, in words")
    accepted: list[str] = Field(description="request keys of the round's accepted labels, in key order")
    learned: list[str] = Field(description="request keys of the labels learned: `accepted`, or none if rejected")
    failed: list[str] = Field(description="request keys of labels that failed, every attempt counted")
    causes: dict[str, int] = Field(description="cause of failure → how often in this round")
    uncropped: int = Field(default=0, description="of the failed, those for which no crop was found")
    quarantined: list[str] = Field(description="request keys whose centres stop triggering unlearned")
    replayed: list[str] = Field(description="request keys of replayed structures")
    centre_force_errors: list[float] = Field(
        default_factory=list,
        description="force error of the version before at the centre of each of `accepted`, eV/Å: the length of the "
        "difference; empty in documents of earlier versions",
    )
    new_before: TrainingErrors | None = Field(description="errors on the new labels before the update")
    new_after: TrainingErrors | None = Field(description="errors on the new labels after the update")
    held_out_before: TrainingErrors | None = Field(description="errors on its validation set before the update")
    held_out_after: TrainingErrors | None = Field(description="errors on its validation set after the update")
    n_samples: dict[str, int] = Field(description="environments in the distribution, per species")
    labelled_frames: list[tuple[int, int]] = Field(description="distinct (walker, step) with an accepted label")
    lost: list[tuple[int, int, int, int]] = Field(
        default_factory=list,
        description="(round, walker, step, atom) of requests, of this and earlier rounds, whose label's job left no document",
    )
    label_seconds: float = Field(description="wall time of the round's accepted labels, s")
    steps: int = Field(
        default=0, description="gradient steps of the attempt that counted; 0 in documents of earlier versions"
    )
    atom_steps: int = Field(default=0, description="atoms in a batch, summed over its steps; 0 where nobody counted")
    refused: list[str] = Field(
        default_factory=list, description="why earlier attempts, at another rate or start, were refused"
    )
    consolidates: bool = Field(default=False, description="whether the force field can learn all its data together")


class ConsolidationDoc(NewLearner):
    """All data learned together, from the weights of the version before: accepted, discarded, or skipped.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> learner = sample_campaign().state().learner
    >>> doc = ConsolidationDoc(
    ...     campaign="tiny", round=9, seconds=8.0, version_before=4, version_after=4, decision="skipped", reason="no time",
    ...     last=True, n_structures=13, steps=0, atom_steps=0, held_out_before=None, held_out_after=None, all_before=None,
    ...     all_after=None, learner=learner,
    ... )
    >>> doc.version_before == doc.version_after
    True
    """

    kind: Literal["consolidation"] = "consolidation"
    version_before: int = Field(description="learner version at its start")
    version_after: int = Field(description="equal to `version_before` unless it was accepted")
    decision: Literal["accepted", "discarded", "skipped"] = Field(description="what became of it")
    reason: str = Field(description="why, in words")
    learned: list[str] = Field(
        default_factory=list, description="request keys of labels that no update could learn, and this did"
    )
    last: bool = Field(description="whether the schedule was done")
    n_structures: int = Field(description="structures it was trained on")
    steps: int = Field(description="gradient steps taken")
    atom_steps: int = Field(description="atoms in a batch, summed over the steps")
    held_out_before: TrainingErrors | None = Field(description="errors on all structures kept out of training, before")
    held_out_after: TrainingErrors | None = Field(description="the same after it; None if no step was taken")
    all_before: TrainingErrors | None = Field(description="errors on the structures it was trained on, before")
    all_after: TrainingErrors | None = Field(description="the same after it; None if no step was taken")


class BootstrapDoc(NewLearner):
    """The first model: what it was learned from, how good it is, and the threshold it comes with.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> doc = sample_campaign().bootstrap()
    >>> doc.source, doc.n_structures, round(doc.threshold, 1)
    ('structures', 8, 22.6)
    >>> print(f"{doc.held_out_errors.forces:.3f} eV/Å on structures kept out of training")
    0.015 eV/Å on structures kept out of training
    """

    kind: Literal["bootstrap"] = "bootstrap"
    source: Literal["structures", "dataset", "campaign"] = Field(description="where the first model comes from")
    asked: str | None = Field(
        default=None, description="hash of the settings and labels it was made with; None in version 0.1.0"
    )
    pretrained: str | None = Field(default=None, description="name or file of the weights it began from")
    weights: Artifact | None = Field(default=None, description="these weights, as they were copied into the artifacts")
    n_structures: int = Field(description="labelled structures it was learned from or validated by")
    n_labelled_here: int = Field(description="labels computed for it, those that check a dataset included")
    failed: dict[str, str] = Field(description="request key → cause")
    notes: list[str] = Field(
        default_factory=list,
        description="what became of the dataset: keys taken, stress converted, agreement with the labeller",
    )
    train_errors: TrainingErrors | None = Field(description="on the structures trained on; None for a carried-on model")
    held_out_errors: TrainingErrors | None = Field(description="on the validation set; None for a carried-on model")
    threshold: float = Field(description="normalised uncertainty above which an uncovered atom triggers")
    atom_steps: int = Field(
        default=0, description="atoms in a batch, summed over the steps of the fit; 0 if not counted"
    )


class RelabelDoc(StageOutput):
    """What became of learned labels that training must not use as they are, and the model afterwards.

    Such labels were made by another method than the present one, or by version 0.1.0 without vacuum.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> doc = RelabelDoc(
    ...     campaign="tiny", round=3, seconds=40.0, choice="leave_out", method="VASP static", n_kept=5, relabelled={}, failed={},
    ...     left_out=["tiny/bootstrap/000000"], n_without_vacuum=0, refitted=True, errors=None, threshold=None,
    ...     learner=sample_campaign().state().learner,
    ... )
    >>> f"{len(doc.left_out)} label of another method left out, fitted anew to the other {doc.n_kept}: {doc.refitted}"
    '1 label of another method left out, fitted anew to the other 5: True'
    """

    kind: Literal["relabel"] = "relabel"
    choice: OtherMethod = Field(description="labels of another method: used, left out of training, or labelled again")
    asked: str | None = Field(default=None, description="hash of the settings and labels it was made with")
    method: str = Field(description="the present reference; stand-ins for DFT are named as such")
    n_kept: int = Field(description="structures that training uses, relabelled ones included")
    left_out: list[str] = Field(description="request keys of learned labels that training leaves out")
    relabelled: dict[str, str] = Field(description="request key of a replaced label → that of its new one")
    failed: dict[str, str] = Field(
        description="request key → cause, of new labels that failed; the old ones are left out, unless all failed"
    )
    n_without_vacuum: int = Field(description="of the labels left out, those of version 0.1.0 made without vacuum")
    refitted: bool = Field(description="whether the force field was fitted anew to what training uses now")
    errors: TrainingErrors | None = Field(description="on the structures trained on; None if it was not refitted")
    threshold: float | None = Field(description="the new automatic threshold where a committee was refitted, else None")
    learner: LearnerVersion = Field(description="the version after it; the one before if every new label failed")


class FrameErrors(OfFrame):
    """Energies and force errors of the first and the last model on one whole frame that the reference labelled.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> for frame in sample_campaign().evaluation().frames:  # the energy is off by
    ...     first, last = (energy - frame.energy_reference for energy in (frame.energy_first, frame.energy_last))
    ...     print(f"step {frame.step}: {first:.2f} → {last:.2f} eV")
    step 10: 0.39 → 0.37 eV
    step 30: 0.38 → 0.10 eV
    step 50: 0.05 → -0.04 eV
    """

    stage: int = Field(description="index of the schedule's stage")
    temperature: float = Field(description="target temperature, K")
    temperature_md: float | None = Field(
        default=None, description="temperature that the frame had, K; None in documents of earlier versions"
    )
    n_atoms: int = Field(description="atoms in the structure")
    energy_reference: float = Field(description="eV")
    energy_first: float = Field(description="of the first model, eV")
    energy_last: float = Field(description="of the last model, eV")
    force_mae_first: float = Field(description="eV/Å")
    force_mae_last: float = Field(description="eV/Å")
    force_rms_reference: float = Field(description="size of the reference's forces, eV/Å")


class EvaluationDoc(StageOutput):
    """The first and the last model compared with the reference on whole frames, drawn evenly from the trajectories.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> doc = campaign.evaluation()
    >>> doc.first_version, doc.last_version, len(doc.frames), doc.failed
    (0, 4, 3, {})
    >>> import numpy as np
    >>> np.load(campaign.fetch(doc.parity))["energies"].shape  # a row a frame: reference, first, last model, eV/atom
    (3, 3)
    """

    kind: Literal["evaluation"] = "evaluation"
    method: str = Field(description="the reference; stand-ins for DFT are named as such")
    first_version: int = Field(description="learner version before")
    last_version: int = Field(description="learner version after")
    frames: list[FrameErrors] = Field(description="one per labelled frame")
    failed: dict[str, str] = Field(description="frame → cause")
    parity: Artifact = Field(description="npz: reference, first and last energies per atom, sampled force components")
    t_entire_s: float | None = Field(description="mean wall time of one whole-frame label, s")


class Lineage(Document):
    """Everything that led to one substructure, and what came of it, as :meth:`idealflow.Campaign.lineage` finds it.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> found = campaign.lineage(campaign.substructures()[0].uuid)
    >>> found.screen.n_triggering, len(found.crop.candidates), found.relaxation.reason
    (1, 3, 'steps')
    >>> found.version_before, found.version_after, found.replayed_in  # asked for by 0, learned in 1, replayed for 2
    (0, 1, [2])
    """

    segment: SegmentDoc = Field(description="the MD that met the frame")
    screen: ScreenDoc = Field(description="the screen that chose the atom")
    crop: CropDoc = Field(description="all candidate cells")
    relaxation: RelaxationDoc = Field(description="the relaxation, with its trace")
    substructure: SubstructureDoc = Field(description="the labelled cell")
    update: ModelUpdateDoc | None = Field(description="the update that learned from it, None if none did")
    version_before: int = Field(description="the version that asked")
    version_after: int | None = Field(description="the version that knows it, None if none does")
    replayed_in: list[int] = Field(description="later versions that replayed it")
