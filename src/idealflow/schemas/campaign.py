"""What a campaign stores between its rounds: its state, its walkers, the versions of its learner."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from idealflow.schemas.base import Artifact, Document, InRound, OfWalker

__all__ = [
    "SETTINGS_IN_FULL",
    "CampaignState",
    "LearnerFiles",
    "LearnerVersion",
    "ScreenedBy",
    "SettingChange",
    "StageContext",
    "WalkerState",
]

#: key, in a campaign's file of settings, of the defaults that the settings compared between runs leave out
SETTINGS_IN_FULL = "@in full"

#: what becomes of learned labels that another method made: they are used, left out of training, or made again
OtherMethod = Literal["keep", "leave_out", "relabel"]


class StageContext(InRound):
    """What every stage needs to know about its campaign: name, round, seed, and where files go.

    Examples
    --------
    The segment goes to workers of the category ``gpu``, all other stages to any:

    >>> from idealflow import MDSegmentMaker
    >>> from idealflow.workflow.jobs.stage import named
    >>> from idealflow.provenance import sample_campaign
    >>> state = sample_campaign().state()
    >>> context = StageContext(
    ...     campaign="tiny", round=3, seed=0, artifacts="artifacts", work="work", categories={"segment": "gpu"}
    ... )
    >>> job = MDSegmentMaker().make(context, state.walkers[0], state.learner, state.threshold)
    >>> job = named(job, context, "segment", 0)
    >>> job.name, job.config.manager_config
    ('segment r3 0', {'_category': 'gpu'})
    """

    seed: int = Field(description="the campaign's seed")
    artifacts: str = Field(description="root URL of the artifact store")
    work: str = Field(description="local directory for files in progress (checkpoints of running segments)")
    categories: dict[str, str] = Field(
        default_factory=dict,
        description="FireWorks category of the workers for each stage; `other` is that of stages not named",
    )
    charges: dict[str, float] | None = Field(
        default=None, description="guessed oxidation states by which crops are made neutral; null: there is no guess"
    )


class ScreenedBy(Document):
    """By what a walker's frame was screened without that an atom triggered.

    The next segment begins at that frame, and does not screen it again if it has the same uncertainty and threshold.

    Examples
    --------
    >>> ScreenedBy(uncertainty="7c8f50", threshold=2.5, max_uncertainty=1.9).threshold
    2.5
    """

    uncertainty: str = Field(description="SHA-256 of the uncertainty's file")
    threshold: float = Field(description="normalised uncertainty above which an uncovered atom triggers")
    max_uncertainty: float = Field(description="highest of the frame")


class WalkerState(OfWalker):
    """Where one walker stands: its molecular dynamics state, and why its last segment ended.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> walker = sample_campaign().state().walkers[0]
    >>> walker.step, walker.reason, walker.finished
    (60, 'schedule_end', True)
    """

    step: int = Field(description="MD step of `md_state`")
    md_state: Artifact = Field(description="exact MD state: positions, momenta, step, thermostat, generator")
    reason: str = Field(description="why the last segment ended")
    unresolved: bool = Field(description="the frame triggered and has to be screened again before any step")
    screened: ScreenedBy | None = Field(
        default=None, description="by what its frame was screened without a trigger; None where it was not"
    )
    blow_up_step: int | None = Field(default=None, description="last good step before a blow-up, if one happened")
    n_blow_ups: int = Field(default=0, description="blow-ups in a row after that step")
    finished: bool = Field(default=False, description="the schedule is done and its last frame is resolved")
    failed: bool = Field(default=False, description="it cannot go on; `reason` says why")


class LearnerVersion(Document):
    """One version of the learner: force field, uncertainty with its distribution, and replay ledger, each as a file.

    Version 0 is the bootstrap's; every accepted update makes the next. A part that did not change is the same file as before.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> learner = campaign.state().learner
    >>> learner.version
    4
    >>> from idealflow.workflow.learner.ledger import Ledger
    >>> len(Ledger.load(campaign.artifacts, learner.ledger))  # 8 bootstrap labels and 5 substructures
    13
    """

    version: int = Field(description="number of the version; 0 is the bootstrap model")
    force_field: Artifact = Field(description="force field with its optimizer state")
    uncertainty: Artifact = Field(description="distribution, whitening and coverage")
    ledger: Artifact = Field(description="keys, cached errors and roles of every training structure")
    consolidated: Artifact | None = Field(
        default=None,
        description="the last force field that learned all its data together; None in campaigns of earlier versions",
    )
    largest_force: float = Field(
        default=0.0,
        description="largest force that a label had on an atom of a substructure's core (eV/Å), of earlier campaigns too",
    )


class LearnerFiles(Document):
    """The parts of a learner with which a single stage is run outside of a campaign.

    Examples
    --------
    A screen, a crop search and a relaxation need an uncertainty and no force field:

    >>> from idealflow.provenance import sample_campaign
    >>> files = LearnerFiles(uncertainty=sample_campaign().state().learner.uncertainty)
    >>> files.force_field is None
    True
    """

    version: int = Field(default=0, description="no version of any campaign")
    force_field: Artifact | None = Field(default=None, description="force field with its optimizer state")
    uncertainty: Artifact | None = Field(default=None, description="distribution, whitening and coverage")


class SettingChange(Document):
    """One setting that a later run of the campaign changed; the state keeps them all.

    Examples
    --------
    >>> change = SettingChange(round=4, key="crop.max_atoms", before="250", after="300")
    >>> print(f"from round {change.round} on {change.key} is {change.after}, before it was {change.before}")
    from round 4 on crop.max_atoms is 300, before it was 250
    """

    round: int = Field(description="first round for which it holds")
    key: str = Field(description="section and name in the config, or the name of an environment variable")
    before: str = Field(description="value until then, as JSON; long ones shortened and with their hash")
    after: str = Field(description="value from then on, as JSON; long ones shortened and with their hash")


class CampaignState(Document):
    """The whole state of a campaign between two rounds.

    :func:`~idealflow.workflow.next_action` tells from it alone what comes next, so a campaign goes on from its last
    state, whatever happened to the process that stored it.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> from idealflow.workflow import next_action
    >>> state = sample_campaign().state()
    >>> state.status, state.n_labelled_frames, state.n_substructures
    ('finished', 4, 5)
    >>> next_action(state).kind, next_action(state).reason
    ('stop', 'the schedule is done')
    """

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
    other_method: OtherMethod | None = Field(
        default=None, description="what became of learned labels of another method; None if there never were any"
    )
    sort_labels: OtherMethod | None = Field(
        default=None, description="what is to be done next with learned labels that training must not use as they are"
    )
    n_without_vacuum: int = Field(
        default=0,
        description="learned labels that version 0.1.0 made without vacuum, of structures open in some direction; left out",
    )
    consolidate_every: int = Field(
        default=0,
        description="accepted updates after which all data are learned together; 0: never, as in earlier versions",
    )
    consolidation_share: float = Field(
        default=0.0,
        description="most that consolidations may cost, as a share of dynamics and training, in atoms times steps",
    )
    n_unconsolidated: int = Field(
        default=0, description="updates, refused ones too, since all data were last learned together"
    )
    blow_up_unlearned: bool = Field(
        default=False,
        description="all data are learned together next, since an update that had to learn a blow-up was refused or not enough",
    )
    n_consolidations: int = Field(default=0, description="consolidations that were accepted")
    n_discarded_consolidations: int = Field(default=0, description="consolidations that did not help")
    atom_steps: int = Field(default=0, description="atoms times gradient steps of the first fit and all updates")
    consolidation_atom_steps: int = Field(default=0, description="atoms times gradient steps of all consolidations")
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
    charges: dict[str, float] | None = Field(
        default=None,
        description="oxidation states that were guessed at the start, by which crops are made neutral; null: none were",
    )
