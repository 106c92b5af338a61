"""Documents that a campaign writes: one pydantic model per stage, small, with units in the descriptions.

Every document carries ``kind``, ``campaign`` and ``round``, by which it is found in any job store; anything large
(trajectory, checkpoint, distribution) is an :class:`Artifact`, a file named by its hash.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

__all__ = [
    "Artifact",
    "BootstrapDoc",
    "CampaignState",
    "CandidateFigures",
    "CentreDoc",
    "CropDoc",
    "EvaluationDoc",
    "FrameErrors",
    "LabelledDoc",
    "LearnerFiles",
    "LearnerVersion",
    "Lineage",
    "ModelUpdateDoc",
    "RelabelDoc",
    "RelaxationDoc",
    "ScreenDoc",
    "SegmentDoc",
    "SettingChange",
    "StageContext",
    "StoredFrame",
    "StoredStructure",
    "SubstructureDoc",
    "TrainingErrors",
    "WalkerState",
]

_MSON_KEYS = ("@module", "@class", "@version")


class Document(BaseModel):
    """Base of every stored document: unknown keys are refused, MSON's class marks are dropped."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _drop_mson_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if key not in _MSON_KEYS}
        return data


class Artifact(Document):
    """A file written once and named by its content."""

    path: str = Field(min_length=1, description="path relative to the root of the artifact store")
    sha256: str = Field(description="SHA-256 of the content, hexadecimal")
    size: int = Field(description="size in bytes", ge=0)


class StoredStructure(Document):
    """A periodic (or partly periodic) arrangement of atoms, exact to the last bit through JSON.

    What a structure does not carry is None, and is left out where it is written: documents of plain structures are those of
    earlier versions.
    """

    numbers: list[int] = Field(description="atomic numbers, (n_atoms,)")
    positions: list[list[float]] = Field(description="Cartesian positions, (n_atoms, 3), Å")
    cell: list[list[float]] = Field(description="cell vectors as rows, (3, 3), Å")
    pbc: list[bool] = Field(description="periodic along each cell vector, (3,)")
    masses: list[float] | None = Field(default=None, description="(n_atoms,), u; None: those of the natural elements")
    fixed: list[list[bool]] | None = Field(
        default=None, description="Cartesian directions in which atoms are fixed, (n_atoms, 3); None: all are free"
    )
    moments: list[float] | None = Field(
        default=None, description="initial magnetic moments, (n_atoms,), μB; None: the labeller's own choice"
    )
    charge: float | None = Field(default=None, description="total charge, e; None: neutral")
    spin: float | None = Field(default=None, description="spin multiplicity 2S + 1 of the whole; None: not given")

    @model_serializer(mode="wrap")
    def _without_what_is_not_carried(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        carried = ("masses", "fixed", "moments", "charge", "spin")
        return {name: value for name, value in write(self).items() if name not in carried or value is not None}


class StoredFrame(Document):
    """An arrangement of atoms that is kept as a file, so that no document grows with it."""

    root: str = Field(description="root URL of the artifact store that has it")
    file: Artifact = Field(
        description="species, positions, cell, periodicity and what it carries, exact to the last bit"
    )


class StageContext(Document):
    """What every stage of a round needs to know of its campaign."""

    campaign: str = Field(description="name of the campaign")
    round: int = Field(description="round in which it was made")
    seed: int = Field(description="the campaign's seed")
    artifacts: str = Field(description="root URL of the artifact store")
    work: str = Field(description="local directory for files in progress (checkpoints of running segments)")
    categories: dict[str, str] = Field(
        default_factory=dict,
        description="FireWorks category of the workers for each stage; `other` is that of stages not named",
    )


class WalkerState(Document):
    """Where one walker stands: its molecular dynamics state and what its last segment ended on."""

    walker: int = Field(description="number of the walker, from 0")
    step: int = Field(description="MD step of `md_state`")
    md_state: Artifact = Field(description="exact MD state: positions, momenta, step, thermostat, generator")
    reason: str = Field(description="why the last segment ended")
    unresolved: bool = Field(description="the frame triggered and has to be screened again before any step")
    blow_up_step: int | None = Field(default=None, description="last good step before a blow-up, if one happened")
    finished: bool = Field(default=False, description="the schedule is done and its last frame is resolved")
    failed: bool = Field(default=False, description="it cannot go on; `reason` says why")


class LearnerVersion(Document):
    """One version of what the campaign knows: force field, uncertainty distribution, and replay ledger."""

    version: int = Field(description="number of the version; 0 is the bootstrap model")
    force_field: Artifact = Field(description="force field with its optimizer state")
    uncertainty: Artifact = Field(description="distribution, whitening and coverage")
    ledger: Artifact = Field(description="keys, cached errors and roles of every training structure")


class SettingChange(Document):
    """One setting that another run of the campaign changed."""

    round: int = Field(description="first round for which it holds")
    key: str = Field(description="section and name in the config, or the name of an environment variable")
    before: str = Field(description="value until then, as JSON; long ones shortened and with their hash")
    after: str = Field(description="value from then on, as JSON; long ones shortened and with their hash")


class LearnerFiles(Document):
    """What a stage alone needs of a learner: the parts that it was given."""

    version: int = Field(default=0, description="no version of any campaign")
    force_field: Artifact | None = Field(default=None, description="force field with its optimizer state")
    uncertainty: Artifact | None = Field(default=None, description="distribution, whitening and coverage")


class CampaignState(Document):
    """The campaign's whole state between two rounds; `next_action` decides from it alone."""

    kind: Literal["state"] = "state"
    campaign: str = Field(description="name of the campaign, unique in its store")
    round: int = Field(description="rounds committed so far")
    status: Literal["running", "paused", "finished", "failed"] = Field(description="where it stands")
    reason: str = Field(description="why the status is what it is, in words")
    settings_key: str = Field(description="hash of the settings that this round ran with")
    settings: Artifact | None = Field(
        default=None, description="these settings as JSON, key by key; None in campaigns of version 0.1.0"
    )
    changes: list[SettingChange] = Field(
        default_factory=list, description="settings that later runs changed, in order, each with its first round"
    )
    remarks: list[str] = Field(
        default_factory=list, description="what to know of the settings: what an earlier version did not store or know"
    )
    threads: int | None = Field(
        default=None, description="threads of numba and torch in this round; None in campaigns of version 0.1.0"
    )
    artifacts: str = Field(description="root URL of the artifact store")
    seed: int = Field(description="the campaign's seed")
    n_atoms: int = Field(description="atoms in the frame of walker 0")
    schedule_steps: int = Field(description="MD steps of the whole schedule, per walker")
    walkers: list[WalkerState] = Field(description="one per walker")
    learner: LearnerVersion | None = Field(description="current version; None before the bootstrap")
    first_learner: LearnerVersion | None = Field(description="version 0, kept for before/after comparisons")
    threshold: float | None = Field(description="uncertainty above which an uncovered atom triggers")
    too_few: dict[str, int] = Field(
        default_factory=dict,
        description="species → distinct environments that the current version knows, where too few to judge others by",
    )
    label_method: str = Field(description="what labels are computed with; stand-ins for DFT are named as such")
    labeller_key: str = Field(description="hash of the label settings; a change lifts the quarantine")
    model_key: str = Field(description="hash of the force field's and update's settings; a change lifts the quarantine")
    n_labelled_frames: int = Field(default=0, description="K': distinct (walker, step) with an accepted label")
    recent_labelled: list[tuple[int, int]] = Field(
        default_factory=list, description="(walker, step) counted in K' that a walker could still meet again"
    )
    max_failed_labels: int | None = Field(description="failed labels after which the campaign stops as failed")
    max_failed_fraction: float | None = Field(
        default=None,
        description="share of the last labels that may fail before the campaign stops as failed; None: all",
    )
    recent_failures: list[bool] = Field(
        default_factory=list, description="of the last labels since the settings changed, oldest first: did it fail?"
    )
    evaluation_frames: int = Field(description="whole frames to label for the final comparison; 0 for none")
    n_substructures: int = Field(default=0, description="accepted substructure labels (bootstrap excluded)")
    n_bootstrap_labels: int = Field(default=0, description="labels computed and learned for the first model")
    n_failed_labels: int = Field(default=0, description="labels that failed, every attempt counted")
    failure_causes: dict[str, int] = Field(
        default_factory=dict, description="cause → how many labels of the whole campaign failed with it"
    )
    n_quarantined: int = Field(default=0, description="centres whose every attempt failed")
    n_cropped: int = Field(default=0, description="labels that had a crop, since the settings changed")
    n_uncropped: int = Field(default=0, description="centres for which no crop was found, since the settings changed")
    uncropped_causes: dict[str, int] = Field(
        default_factory=dict, description="cause → for how many of these centres no crop was found, while none had one"
    )
    other_method: Literal["keep", "leave_out", "relabel"] | None = Field(
        default=None, description="what became of learned labels of another method; None if there never were any"
    )
    sort_labels: Literal["keep", "leave_out", "relabel"] | None = Field(
        default=None, description="what is to be done next with learned labels that training must not use as they are"
    )
    n_without_vacuum: int = Field(
        default=0,
        description="learned labels that version 0.1.0 made without vacuum, of structures open in some direction; left out",
    )
    n_rejected_updates: int = Field(default=0, description="updates that made things worse and were thrown away")
    label_seconds: float = Field(default=0.0, description="seconds spent on accepted substructure labels")
    wall_s: float = Field(default=0.0, description="seconds spent in the stages of all committed rounds")
    lost_labels: list[tuple[int, int, int, int]] = Field(
        default_factory=list,
        description="(round, walker, step, atom) of labels whose job was lost; learned by a later update if it is run again",
    )
    lift_quarantine: bool = Field(default=False, description="the next update forgets the quarantine: settings changed")
    evaluated: bool = Field(default=False, description="the whole-frame evaluation is stored")
    notes: list[str] = Field(
        default_factory=list, description="what became of the input: what was taken, left out, converted"
    )


class SegmentDoc(Document):
    """One MD segment of one walker."""

    kind: Literal["segment"] = "segment"
    uuid: str = Field(description="job that made the document")
    campaign: str = Field(description="name of the campaign")
    round: int = Field(description="round in which it was made")
    walker: int = Field(description="number of the walker, from 0")
    model_version: int = Field(description="learner version in use")
    first_step: int = Field(description="MD step at its start")
    last_step: int = Field(description="MD step at its end")
    reason: Literal["triggered", "schedule_end", "segment_end", "wall_time", "blow_up"] = Field(
        description="why it ended"
    )
    detail: str = Field(default="", description="what blew up, with value and limit")
    start_state: Artifact = Field(description="exact MD state it started from")
    end_state: Artifact = Field(description="state of the last frame; the last good frame after a blow-up")
    frame: Artifact = Field(
        description="the screened frame: `end_state`, or after a blow-up the most uncertain since the last good one"
    )
    frame_step: int = Field(description="step of `frame`")
    trajectory: Artifact | None = Field(description="frames written while it ran (Trajectory); None where none were")
    log: dict[str, list[float]] = Field(
        description="columns of equal length: step, time_fs, temperature (K), target (K), potential_energy (eV), "
        "max_uncertainty (NaN where not screened)"
    )
    seconds: float = Field(description="wall time of the stage, s")


class CentreDoc(Document):
    """One atom chosen for labelling."""

    atom: int = Field(description="index of the centre in the frame")
    species: str = Field(description="chemical symbol of the centre")
    uncertainty: float = Field(description="normalised uncertainty in the frame; 1 is the in-distribution mean")


class ScreenDoc(Document):
    """Atom-by-atom uncertainty of one frame and the centres chosen in it."""

    kind: Literal["screen"] = "screen"
    campaign: str = Field(description="name of the campaign")
    round: int = Field(description="round in which it was made")
    walker: int = Field(description="number of the walker, from 0")
    step: int = Field(description="MD step of the frame")
    segment_uuid: str = Field(description="job that ran the MD")
    model_version: int = Field(description="learner version in use")
    threshold: float = Field(description="normalised uncertainty above which an uncovered atom triggers")
    n_atoms: int = Field(description="atoms in the structure")
    n_uncertain: int = Field(description="atoms above the threshold, covered or not")
    n_triggering: int = Field(description="atoms above the threshold and uncovered")
    max_uncertainty: float = Field(description="highest of the frame")
    quantiles: dict[str, float] = Field(description="uncertainty at the 0.5, 0.9, 0.99 quantiles of the frame")
    centres: list[CentreDoc] = Field(description="atoms to label, most uncertain first")
    seconds: float = Field(description="wall time of the stage, s")


class CandidateFigures(Document):
    """Figures of one candidate cell, kept whether or not it was chosen."""

    model_config = ConfigDict(extra="allow")  # the search may add figures without a change of the schema

    cell_kind: str = Field(description="how the cell was proposed: cartesian, parent, lattice, whole, vacuum")
    n_atoms: int = Field(description="atoms in the structure")
    refused: str | None = Field(default=None, description="why the candidate was refused, None if it stood")


class CropDoc(Document):
    """The crop search around one centre: all candidates' figures and the best few structures."""

    kind: Literal["crop"] = "crop"
    campaign: str = Field(description="name of the campaign")
    round: int = Field(description="round in which it was made")
    walker: int = Field(description="number of the walker, from 0")
    step: int = Field(description="MD step of the frame")
    atom: int = Field(description="index of the centre in the frame")
    species: str = Field(description="chemical symbol of the centre")
    centre_uncertainty: float = Field(
        description="of the centre in the frame, normalised: 1 is the in-distribution mean"
    )
    screen_uuid: str = Field(description="job that screened the frame")
    segment_uuid: str = Field(description="job that ran the MD")
    model_version: int = Field(description="learner version in use")
    embedding: str = Field(description="ides, crop, vacuum or frame")
    seed: list[int] = Field(description="entropy of the search: campaign seed, walker, step, atom")
    candidates: list[CandidateFigures] = Field(description="every cell that was tried, refused ones with the reason")
    chosen: list[dict[str, Any]] = Field(
        description="best first, one per allowed attempt, whole: the form of idealflow.core.Crop.to_dict"
    )
    failure: str | None = Field(default=None, description="why no crop could be made, if so")
    seconds: float = Field(description="wall time of the stage, s")


class RelaxedCrop(Document):
    """How the relaxation of one of a centre's crops ended."""

    crop_index: int = Field(description="which of the centre's kept crops, best first, from 0")
    n_atoms: int = Field(description="atoms of the crop")
    reason: str = Field(description="why the relaxation ended")
    n_steps: int = Field(description="evaluations of objective and gradient")
    uncertainty_before: float = Field(description="mean over the shell before, normalised")
    uncertainty_after: float = Field(description="mean over the shell after, normalised")
    core_worsening: float = Field(description="largest ratio of a core atom's uncertainty to its reference")


class RelaxationDoc(Document):
    """The relaxation of a centre's crops on the uncertainty, and the one that came out best."""

    kind: Literal["relaxation"] = "relaxation"
    campaign: str = Field(description="name of the campaign")
    round: int = Field(description="round in which it was made")
    walker: int = Field(description="number of the walker, from 0")
    step: int = Field(description="MD step of the frame")
    atom: int = Field(description="index of the centre in the frame")
    attempt: int = Field(description="which substructure of the centre, best first, from 0")
    species: str = Field(description="chemical symbol of the centre")
    centre_uncertainty: float = Field(
        description="of the centre in the frame, normalised: 1 is the in-distribution mean"
    )
    segment_uuid: str = Field(description="job that ran the MD")
    screen_uuid: str = Field(description="job that screened the frame")
    crop_uuid: str = Field(description="job that searched the crop")
    model_version: int = Field(description="learner version in use")
    embedding: str = Field(description="ides, crop, vacuum or frame")
    structure: StoredStructure | None = Field(description="the substructure χ̃*; None if there is none to label")
    core: list[int] = Field(description="indices of the untouched core atoms")
    centre: int = Field(description="index of the centre in `structure`")
    parent_indices: list[int] = Field(description="index in the frame of every atom")
    trace: list[float] = Field(description="objective at every step")
    reason: str = Field(description="why the relaxation ended")
    crop_index: int = Field(description="which of the centre's kept crops it started from, best first; -1 without any")
    tried: list[RelaxedCrop] = Field(description="every crop that was relaxed, best first; the next where one stalls")
    uncertainty_before: float | None = Field(description="mean over the shell before, normalised")
    uncertainty_after: float | None = Field(description="mean over the shell after, normalised")
    core_worsening: float | None = Field(description="largest ratio of a core atom's uncertainty to its reference")
    composition_error: float | None = Field(
        description="fraction of atoms that would have to change species to match the frame"
    )
    seconds: float = Field(description="wall time of the stage, s")


class TrainingErrors(Document):
    """Mean absolute errors of a force field on a set of labelled structures."""

    energy: float = Field(description="eV/atom")
    forces: float = Field(description="eV/Å")
    stress: float | None = Field(description="eV/Å³, None where no label has a stress")


class LabelledDoc(Document):
    """A structure with the reference's label, or the recorded cause why it has none."""

    kind: Literal["label"] = "label"
    campaign: str = Field(description="name of the campaign")
    round: int = Field(description="round in which it was made")
    origin: Literal["bootstrap", "check", "evaluation", "relabelled", "substructure"] = Field(
        description="what the label is for; `check`: to compare a dataset with the labeller"
    )
    replaces: str | None = Field(
        default=None, description="request key of the label of another method in whose place training uses it"
    )
    request_key: str = Field(description="campaign, walker, step, parent atom, attempt: who asked")
    geometry_key: str = Field(description="hash of coordinates, cell, species and label settings: what was asked")
    labeller_key: str = Field(description="hash of the label settings")
    state: Literal["accepted", "failed"] = Field(description="whether there is a label")
    cause: str | None = Field(default=None, description="why the label failed")
    structure: StoredStructure | None = Field(description="what was labelled; None if there was nothing to label")
    energy: float | None = Field(default=None, description="eV")
    forces: list[list[float]] | None = Field(default=None, description="(n_atoms, 3), eV/Å")
    stress: list[float] | None = Field(default=None, description="(6,), eV/Å³, ASE's sign and Voigt order")
    method: str = Field(description="the reference; stand-ins for DFT are named as such")
    n_atoms: int = Field(description="atoms in the structure")
    n_electrons: int | None = Field(
        default=None, description="all electrons of the neutral atoms; None if there was nothing to label"
    )
    n_valence_electrons: float | None = Field(
        default=None, description="electrons the reference treated; None for one that has none or does not say"
    )
    seconds: float = Field(description="wall time of the label, of the original one if it was reused")
    core_seconds: float | None = Field(
        default=None,
        description="processor time where it was measured (ASE calculators), else wall time × cores, s; of the original "
        "label if it was reused",
    )
    reused_from: str | None = Field(default=None, description="uuid of the stored label that answered the request")
    document: Artifact | None = Field(default=None, description="the engine's own whole document")


class SubstructureDoc(LabelledDoc):
    """One labelled substructure with everything that leads to it."""

    kind: Literal["substructure"] = "substructure"  # type: ignore[assignment]  # narrows the parent's literal
    origin: Literal["bootstrap", "check", "evaluation", "relabelled", "substructure"] = Field(
        default="substructure", description="what the label is for"
    )
    uuid: str = Field(description="job that made the document")
    walker: int = Field(description="number of the walker, from 0")
    step: int = Field(description="MD step of the frame")
    atom: int = Field(description="index of the centre in the frame")
    attempt: int = Field(description="which crop of the centre, best first, from 0")
    species: str = Field(description="chemical symbol of the centre")
    uncertainty: float = Field(description="of the centre in the frame, normalised")
    embedding: str = Field(description="ides, crop, vacuum or frame")
    core: list[int] = Field(description="indices of the untouched core atoms")
    centre: int = Field(description="index of the centre in `structure`")
    parent_indices: list[int] = Field(description="index in the frame of every atom")
    shell_uncertainty: float | None = Field(description="mean over the shell after relaxation, normalised")
    composition_error: float | None = Field(
        description="fraction of atoms that would have to change species to match the frame"
    )
    model_version: int = Field(description="the version that asked for it")
    segment_uuid: str = Field(description="job that ran the MD")
    screen_uuid: str = Field(description="job that screened the frame")
    crop_uuid: str = Field(description="job that searched the crop")
    relaxation_uuid: str = Field(description="job that relaxed the shell")


class ModelUpdateDoc(Document):
    """One update of force field and distribution, accepted or rejected."""

    kind: Literal["update"] = "update"
    campaign: str = Field(description="name of the campaign")
    round: int = Field(description="round in which it was made")
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
    held_out_before: TrainingErrors | None = Field(description="errors on the structures it is judged by, before")
    held_out_after: TrainingErrors | None = Field(description="errors on the structures it is judged by, after")
    n_samples: dict[str, int] = Field(description="environments in the distribution, per species")
    too_few: dict[str, int] = Field(
        default_factory=dict,
        description="species → distinct environments, where they are too few to judge others by: everything else of that "
        "species is infinitely uncertain; empty in documents of earlier versions",
    )
    learner: LearnerVersion = Field(description="the version after it")
    labelled_frames: list[tuple[int, int]] = Field(description="distinct (walker, step) with an accepted label")
    lost: list[tuple[int, int, int, int]] = Field(
        default_factory=list,
        description="(round, walker, step, atom) of requests, of this and earlier rounds, whose label's job left no document",
    )
    label_seconds: float = Field(description="wall time of the round's accepted labels, s")
    seconds: float = Field(description="wall time of the stage, s")


class BootstrapDoc(Document):
    """The first model: what it was learned from and how good it is."""

    kind: Literal["bootstrap"] = "bootstrap"
    campaign: str = Field(description="name of the campaign")
    round: int = Field(description="round in which it was made")
    source: Literal["structures", "dataset", "campaign"] = Field(description="where the first model comes from")
    asked: str | None = Field(
        default=None, description="hash of the settings and labels it was made with; None in version 0.1.0"
    )
    n_structures: int = Field(description="labelled structures it was learned from or judged by")
    n_labelled_here: int = Field(description="labels computed for it, those that check a dataset included")
    failed: dict[str, str] = Field(description="request key → cause")
    notes: list[str] = Field(
        default_factory=list,
        description="what became of the dataset: keys taken, stress converted, agreement with the labeller",
    )
    train_errors: TrainingErrors | None = Field(description="on the structures trained on; None for a carried-on model")
    held_out_errors: TrainingErrors | None = Field(
        description="on the structures held out; None for a carried-on model"
    )
    threshold: float = Field(description="normalised uncertainty above which an uncovered atom triggers")
    too_few: dict[str, int] = Field(
        default_factory=dict,
        description="species → distinct environments, where they are too few to judge others by; empty in documents of earlier "
        "versions",
    )
    learner: LearnerVersion = Field(description="the version after it")
    seconds: float = Field(description="wall time of the stage, s")


class RelabelDoc(Document):
    """What became of learned labels that training must not use as they are, and the model after it."""

    kind: Literal["relabel"] = "relabel"
    campaign: str = Field(description="name of the campaign")
    round: int = Field(description="round in which it was made")
    choice: Literal["keep", "leave_out", "relabel"] = Field(
        description="labels of another method: used, left out of training, or labelled again"
    )
    asked: str = Field(default="", description="hash of the settings and labels it was made with")
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
    seconds: float = Field(description="wall time of the stage, s")


class FrameErrors(Document):
    """Errors on one whole frame labelled by the reference."""

    walker: int = Field(description="number of the walker, from 0")
    step: int = Field(description="MD step of the frame")
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


class EvaluationDoc(Document):
    """First and last model against the reference on whole frames drawn from the whole trajectory."""

    kind: Literal["evaluation"] = "evaluation"
    campaign: str = Field(description="name of the campaign")
    round: int = Field(description="round in which it was made")
    method: str = Field(description="the reference; stand-ins for DFT are named as such")
    first_version: int = Field(description="learner version before")
    last_version: int = Field(description="learner version after")
    frames: list[FrameErrors] = Field(description="one per labelled frame")
    failed: dict[str, str] = Field(description="frame → cause")
    parity: Artifact = Field(description="npz: reference, first and last energies per atom, sampled force components")
    t_entire_s: float | None = Field(description="mean wall time of one whole-frame label, s")
    seconds: float = Field(description="wall time of the stage, s")


class Lineage(Document):
    """Everything that led to one substructure, and what came of it."""

    segment: SegmentDoc = Field(description="the MD that met the frame")
    screen: ScreenDoc = Field(description="the screen that chose the atom")
    crop: CropDoc = Field(description="all candidate cells")
    relaxation: RelaxationDoc = Field(description="the relaxation, with its trace")
    substructure: SubstructureDoc = Field(description="the labelled cell")
    update: ModelUpdateDoc | None = Field(description="the update that learned from it, None if none did")
    version_before: int = Field(description="the version that asked")
    version_after: int | None = Field(description="the version that knows it, None if none does")
    replayed_in: list[int] = Field(description="later versions that replayed it")
