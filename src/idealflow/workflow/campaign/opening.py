"""How a campaign begins and how it is taken up again; what is refused before any compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ase import Atoms

from idealflow.core import SOAP
from idealflow.core.structure import totals_of
from idealflow.errors import InputError
from idealflow.forcefields import get_force_field
from idealflow.schemas import CampaignState, StageContext, StoredFrame, WalkerState
from idealflow.settings import Settings
from idealflow.storage import ArtifactStore
from idealflow.workflow.campaign.settings import CampaignSettings
from idealflow.workflow.campaign.state import next_action
from idealflow.workflow.folder.earlier import earlier_species
from idealflow.workflow.frames.encode import load_frame, save_frame
from idealflow.workflow.jobs.keys import child_seed, is_key_of, settings_key
from idealflow.workflow.learner.uncertainties import check_kind

#: settings that say where, by whom, under what name and after which checks work is done, and nothing of its results
_OF_THE_SITE = ("artifacts", "work", "continuation", "max_rounds", "category", "launchpad", "name", "dataset_check")

#: most atoms of a frame that is labelled whole: its documents take some 100 bytes an atom, of the 16 MB MongoDB allows
_LARGEST_WHOLE = 20_000

__all__ = [
    "check_campaign",
    "context_of",
    "first_frame",
    "initial_state",
    "kept",
    "labeller_changed",
    "reopened",
    "science_key",
    "settings_changed",
]


def check_campaign(maker: CampaignSettings, atoms: Atoms) -> None:
    """Refuse settings that cannot give a sound campaign.

    Raises
    ------
    InputError
        If the screen would see less than the model, a species is outside the descriptor, the bootstrap has nothing to
        start from, the first velocities cannot be drawn, or frames are to be labelled whole that are too large for it.
    """
    bootstrap = maker.bootstrap
    whole = "embedding = frame" if maker.embedding == "frame" else f"evaluation.n_frames = {maker.evaluation.n_frames}"
    if (maker.embedding == "frame" or maker.evaluation.n_frames) and len(atoms) > _LARGEST_WHOLE:
        raise InputError(
            f"{whole} labels whole frames, which may have at most {_LARGEST_WHOLE} atoms (a label is one document), got "
            f"{len(atoms)}; set evaluation.n_frames to 0 and another embedding"
        )
    maker.segment.initial_state(atoms, child_seed(maker.seed, 0))
    _check_totals(maker, atoms)
    species = sorted(set(atoms.get_chemical_symbols()))
    if bootstrap.source == "campaign":
        known = earlier_species(Path(str(bootstrap.campaign)))
        unknown = sorted(set(species) - set(known))
        if unknown:
            raise InputError(
                f"the campaign in {bootstrap.campaign} knows {', '.join(known)}, but the structure has {unknown[0]}; "
                "bootstrap from a dataset or from structures that hold every species"
            )
        return
    try:
        soap = SOAP(species=species, **bootstrap.soap)
    except TypeError as error:
        raise InputError(f"bootstrap.soap has r_cut, n_max, l_max and sigma, got {bootstrap.soap} ({error})") from error
    force_field = get_force_field(bootstrap.force_field, species=species, **bootstrap.force_field_settings)
    check_kind(bootstrap.uncertainty, force_field)
    if soap.cutoff < (cutoff := force_field.cutoff):
        raise InputError(
            f"the screen must see what the model sees: SOAP's true cutoff r_cut + 3.717 σ = {soap.cutoff:.2f} Å must be at "
            f"least the force field's cutoff, {cutoff:.2f} Å; raise bootstrap.soap r_cut or sigma, or lower the force "
            "field's cutoff"
        )
    if bootstrap.source == "structures":
        bootstrap.initial_structures(atoms, maker.seed)
    if bootstrap.source == "dataset":
        bootstrap.read()


def _check_totals(maker: CampaignSettings, atoms: Atoms) -> None:
    """A part of a charged frame has no charge of its own that anyone knows: such frames are labelled whole."""
    totals = totals_of(atoms)
    whole = maker.embedding == "frame" or (
        maker.embedding != "vacuum" and maker.crop.whole_if_small and len(atoms) <= maker.crop.max_atoms
    )
    if totals and maker.learn and not whole:
        said = " and ".join(f"{name} = {value:g}" for name, value in totals.items())
        raise InputError(
            f"the structure has {said}, of which a part cut out of it has no known share; label frames whole (embedding: frame, "
            f"or crop.max_atoms of at least {len(atoms)}), or remove it from the structure"
        )


def context_of(maker: CampaignSettings, state: CampaignState) -> StageContext:
    """What the stages of the next round need to know."""
    return StageContext(
        campaign=state.campaign,
        round=state.round,
        seed=state.seed,
        artifacts=state.artifacts,
        work=_work(maker, state.artifacts),
        categories=_categories(maker),
    )


def _categories(maker: CampaignSettings) -> dict[str, str]:
    """Category of worker by stage, where one was asked for; `other`: of all that are not named."""
    wanted = {
        "segment": maker.segment.category,
        "screen": maker.screen.category,
        "crop": maker.crop.category,
        "relax": maker.relax.category,
        "label": maker.label.category,
        "update": maker.update.category,
        "bootstrap-label": maker.label.category,
        "check-label": maker.label.category,
        "bootstrap-fit": maker.bootstrap.category,
        "evaluate": maker.evaluation.category,
        "evaluation-label": maker.label.category,
        "evaluation-compare": maker.evaluation.category,
        "other": maker.category,
    }
    return {stage_name: category for stage_name, category in wanted.items() if category is not None}


def kept(maker: CampaignSettings, atoms: Atoms) -> StoredFrame:
    """A frame as a file in the campaign's artifact store."""
    root = _artifacts(maker)
    return StoredFrame(root=root, file=save_frame(ArtifactStore(root), atoms))


def initial_state(maker: CampaignSettings, atoms: Atoms, notes: Sequence[str] = ()) -> CampaignState:
    """Round 0: every walker at step 0 with velocities of its own; no model yet.

    ``notes`` say what became of the input (:func:`~idealflow.workflow.jobs.progress.noted`).
    """
    artifacts = _artifacts(maker)
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
        model_key=settings_key(_model_of(maker)),
        max_failed_labels=maker.max_failed_labels,
        max_failed_fraction=maker.max_failed_fraction,
        evaluation_frames=maker.evaluation.n_frames,
        notes=list(notes),
    )


def first_frame(state: CampaignState) -> Atoms:
    """The frame of walker 0 at its stored step."""
    return load_frame(ArtifactStore(state.artifacts), state.walkers[0].md_state)


def reopened(maker: CampaignSettings, state: CampaignState) -> CampaignState:
    """The stored state under the maker's present settings: a longer schedule, another threshold, another labeller.

    Raises
    ------
    InputError
        If the settings contradict what has been run: another seed, number of walkers, or a schedule shorter than done.
    """
    for name, mine, stored in (
        ("seed", maker.seed, state.seed),
        ("n_walkers", maker.n_walkers, len(state.walkers)),
    ):
        if mine != stored:
            raise InputError(
                f"campaign {state.campaign} was started with {name} = {stored}, got {mine}; keep it, or give the campaign "
                "another name"
            )
    moved = {} if maker.artifacts is None else {"artifacts": _root(maker, state)}
    if not settings_changed(maker, state.settings_key):
        paused = {"status": "running", "reason": "under way"} if state.status == "paused" else {}
        return state.model_copy(update=paused | moved)
    steps = maker.segment.plan().n_steps
    furthest = max(walker.step for walker in state.walkers)
    if steps < furthest:
        raise InputError(
            f"the schedule has {steps} steps, but campaign {state.campaign} has already run {furthest}; lengthen it"
        )
    changes: dict[str, object] = {
        **moved,
        "settings_key": science_key(maker),
        "status": "running",
        "reason": "taken up with changed settings",
        "schedule_steps": steps,
        "max_failed_labels": maker.max_failed_labels,
        "max_failed_fraction": maker.max_failed_fraction,
        "recent_failures": [],  # whoever changes settings after a stop has mended something
        "label_method": maker.label.method,
        "labeller_key": maker.label.key,
        "model_key": settings_key(_model_of(maker)),
        "lift_quarantine": state.lift_quarantine
        or labeller_changed(maker, state.labeller_key)
        or not is_key_of(state.model_key, _model_of(maker)),
        "evaluation_frames": maker.evaluation.n_frames,
        "walkers": [
            walker.model_copy(update={"finished": walker.finished and walker.step >= steps}) for walker in state.walkers
        ],
    }
    if steps != state.schedule_steps or maker.evaluation.n_frames != state.evaluation_frames:
        changes["evaluated"] = False
    if maker.threshold != "auto":
        changes["threshold"] = float(maker.threshold)
    after = state.model_copy(update=changes)
    action = next_action(after)
    return after.model_copy(update={"status": "finished", "reason": action.reason}) if action.kind == "stop" else after


def _artifacts(maker: CampaignSettings) -> str:
    given = maker.artifacts or Settings().artifacts or "idealflow_artifacts"
    return given if "://" in given else str(Path(given).absolute())


def _root(maker: CampaignSettings, state: CampaignState) -> str:
    """Where a stored campaign's artifacts are: where the maker says (its folder may have been moved), if they are there."""
    given = _artifacts(maker)
    if given == state.artifacts:
        return given
    needed = state.walkers[0].md_state
    left = ArtifactStore(state.artifacts).exists(needed) and not ArtifactStore(given).exists(needed)
    return state.artifacts if left else given


def _work(maker: CampaignSettings, artifacts: str) -> str:
    given = maker.work or Settings().work
    if given is not None:
        return str(Path(given).absolute())
    return str(Path("idealflow_work").absolute()) if "://" in artifacts else f"{artifacts}/work"


def science_key(maker: CampaignSettings) -> str:
    """Hash of what decides the results: not where files lie, who drives, or how many rounds a call may run."""
    return settings_key(_science_of(maker))


def settings_changed(maker: CampaignSettings, stored: str) -> bool:
    """Whether the settings are others than those with the stored :func:`science_key`, of this version or of 0.1.0."""
    return not is_key_of(stored, _science_of(maker))


def labeller_changed(maker: CampaignSettings, stored: str) -> bool:
    """Whether the labeller is another than the one with the stored key, of this version or of 0.1.0."""
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


def _model_of(maker: CampaignSettings) -> list[Any]:
    """What decides how a label is learned; a change lifts the quarantine."""
    bootstrap = maker.bootstrap
    return [bootstrap.force_field, bootstrap.force_field_settings, _science(maker.update.as_dict())]
