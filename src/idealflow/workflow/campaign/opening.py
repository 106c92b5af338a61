"""How a campaign begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ase import Atoms

from idealflow.schemas import CampaignState, StageContext, StoredFrame, WalkerState
from idealflow.settings import Settings
from idealflow.storage import ArtifactStore
from idealflow.workflow.campaign.checks import guessed_charges
from idealflow.workflow.campaign.queues import categories_of
from idealflow.workflow.campaign.record import save_settings
from idealflow.workflow.campaign.settings import CampaignSettings
from idealflow.workflow.frames.encode import load_frame, save_frame
from idealflow.workflow.jobs.keys import child_seed, is_key_of, settings_key
from idealflow.workflow.stages.thresholds import check_calibration

#: settings that say where, by whom, by how many, under what name and after which checks work is done; they do not change results
_OF_THE_SITE = (
    "artifacts", "work", "continuation", "max_rounds", "queues", "launchpad", "name", "dataset_check", "workers", "budget",
    "cores", "memory_gb",
)  # fmt: skip
__all__ = [
    "artifacts_of",
    "context_of",
    "first_frame",
    "initial_state",
    "kept",
    "labeller_changed",
    "model_of",
    "root_of",
    "science_key",
    "settings_changed",
]


def context_of(maker: CampaignSettings, state: CampaignState) -> StageContext:
    """What the stages of the next round need to know: names, seed, folders, and the queues of their jobs.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> from idealflow.workflow.campaign.opening import initial_state
    >>> state = initial_state(maker, bulk("Cu", cubic=True) * 3)
    >>> context = context_of(maker, state)
    >>> context.campaign, context.round, context.artifacts
    ('copper', 0, 'memory://copper')
    """
    return StageContext(
        campaign=state.campaign,
        round=state.round,
        seed=state.seed,
        artifacts=state.artifacts,
        work=_work(maker, state.artifacts),
        categories=categories_of(maker.queues),
        charges=state.charges,
    )


def kept(maker: CampaignSettings, atoms: Atoms) -> StoredFrame:
    """Store a frame as a file in the campaign's artifact store.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> kept(maker, bulk("Cu")).root
    'memory://copper'
    """
    root = artifacts_of(maker)
    return StoredFrame(root=root, file=save_frame(ArtifactStore(root), atoms))


def initial_state(maker: CampaignSettings, atoms: Atoms, notes: Sequence[str] = ()) -> CampaignState:
    """The state of a new campaign: every walker at step 0 with velocities of its own, and no model yet.

    Parameters
    ----------
    maker
        The campaign.
    atoms
        The frame at step 0.
    notes
        Messages about the input (:func:`~idealflow.workflow.jobs.progress.noted`), kept with the campaign.

    Raises
    ------
    InputError
        If the threshold is to come from force errors of labels that there are not.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> state = initial_state(maker, bulk("Cu", cubic=True) * 3)
    >>> state.round, state.n_atoms, state.learner, [walker.step for walker in state.walkers]
    (0, 108, None, [0])
    """
    check_calibration(maker.threshold, maker.bootstrap.campaign)
    artifacts = artifacts_of(maker)
    store = ArtifactStore(artifacts)
    walkers = []
    with TemporaryDirectory() as directory:
        for number in range(maker.n_walkers):
            start = maker.segment.initial_state(atoms, child_seed(maker.seed, 0, number))
            state = store.put_file(start.save(Path(directory) / f"{number}.npz"), suffix=".npz")
            walkers.append(WalkerState(walker=number, step=0, md_state=state, reason="start", unresolved=True))
    return CampaignState(
        campaign=maker.campaign,
        round=0,
        status="running",
        reason="starting",
        settings_key=science_key(maker),
        settings=save_settings(store, maker),
        threads=Settings().threads,
        artifacts=artifacts,
        seed=maker.seed,
        n_atoms=len(atoms),
        schedule_steps=maker.segment.plan().n_steps,
        walkers=walkers,
        learner=None,
        first_learner=None,
        threshold=None,
        label_method=maker.label.method,
        labeller_key=maker.label.key,
        model_key=settings_key(model_of(maker)),
        max_failed_labels=maker.max_failed_labels,
        max_failed_fraction=maker.max_failed_fraction,
        evaluation_frames=maker.evaluation.n_frames,
        consolidate_every=maker.update.consolidate_every,
        consolidation_share=maker.update.consolidation_share,
        notes=list(notes),
        charges=guessed_charges(maker, atoms),
    )


def first_frame(state: CampaignState) -> Atoms:
    """The frame of walker 0 at its stored step.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> from idealflow.workflow.campaign.opening import initial_state
    >>> state = initial_state(maker, bulk("Cu", cubic=True) * 3)
    >>> len(first_frame(state))
    108
    """
    return load_frame(ArtifactStore(state.artifacts), state.walkers[0].md_state)


def artifacts_of(maker: CampaignSettings) -> str:
    """Root URL of the artifact store: the Maker's, else the site's.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> artifacts_of(maker)
    'memory://copper'
    """
    given = maker.artifacts or Settings().artifacts or "idealflow_artifacts"
    return given if "://" in given else str(Path(given).absolute())


def root_of(maker: CampaignSettings, state: CampaignState) -> str:
    """Root URL of a stored campaign's artifacts. It is the Maker's, since the folder may have been moved, if they are there.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> from idealflow.workflow.campaign.opening import initial_state
    >>> state = initial_state(maker, bulk("Cu", cubic=True) * 3)
    >>> root_of(maker, state)
    'memory://copper'
    """
    given = artifacts_of(maker)
    if maker.artifacts is None or given == state.artifacts:
        return state.artifacts
    needed = state.walkers[0].md_state
    left = ArtifactStore(state.artifacts).exists(needed) and not ArtifactStore(given).exists(needed)
    return state.artifacts if left else given


def _work(maker: CampaignSettings, artifacts: str) -> str:
    given = maker.work or Settings().work
    if given is not None:
        return str(Path(given).absolute())
    return str(Path("idealflow_work").absolute()) if "://" in artifacts else f"{artifacts}/work"


def science_key(maker: CampaignSettings) -> str:
    """Hash of the settings that decide the results: not of where files are, who runs the rounds, or how many a call may run.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> from dataclasses import replace
    >>> science_key(replace(maker, max_rounds=5)) == science_key(maker), science_key(replace(maker, seed=1)) == science_key(maker)
    (True, False)
    """
    return settings_key(_science_of(maker))


def settings_changed(maker: CampaignSettings, stored: str) -> bool:
    """Whether the settings differ from those that gave the stored :func:`science_key`, in this version or in 0.1.0.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> settings_changed(maker, science_key(maker))
    False
    """
    return not is_key_of(stored, _science_of(maker))


def labeller_changed(maker: CampaignSettings, stored: str) -> bool:
    """Whether the labeller differs from the one that gave the stored key, in this version or in 0.1.0.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> labeller_changed(maker, maker.label.key)
    False
    """
    return not is_key_of(stored, maker.label.settings)


def _science_of(maker: CampaignSettings) -> dict[str, Any]:
    found = {key: _science(value) for key, value in _science(maker.as_dict()).items()}
    found["label"]["labeller"] = maker.label.settings
    return found


def _science(settings: Any) -> Any:
    """Settings of a Maker without those of the site; anything else as it is."""
    if not isinstance(settings, dict):
        return settings
    return {key: value for key, value in settings.items() if key not in _OF_THE_SITE}


def model_of(maker: CampaignSettings) -> list[Any]:
    """Settings that decide how a label is learned. When they change, centres in quarantine may trigger again.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> model_of(maker)[0]
    'local'
    """
    bootstrap = maker.bootstrap
    return [bootstrap.force_field, bootstrap.force_field_settings, _science(maker.update.as_dict())]
