"""How a campaign is taken up again: its settings are compared with those it ran with, and its state is changed accordingly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ase import Atoms
from jobflow import JobStore

from idealflow.core import Uncertainty, UncertaintyModel
from idealflow.core.dynamics import MDState
from idealflow.errors import InputError
from idealflow.provenance import Campaign
from idealflow.schemas import CampaignState, LearnerVersion, SettingChange
from idealflow.schemas.campaign import OtherMethod
from idealflow.settings import Settings
from idealflow.storage import ArtifactStore
from idealflow.workflow.campaign.changes import Difference, compared, may_change, of_the_site, refusal, shown
from idealflow.workflow.campaign.opening import labeller_changed, model_of, root_of, science_key, settings_changed
from idealflow.workflow.campaign.record import (
    default_of,
    load_settings,
    save_settings,
    settings_of,
    without_new_keys,
)
from idealflow.workflow.campaign.settings import CampaignSettings
from idealflow.workflow.campaign.state import next_action
from idealflow.workflow.campaign.what_ran import contradictions_of_the_log, differences_of_the_start
from idealflow.workflow.jobs.keys import child_seed, is_key_of, settings_key
from idealflow.workflow.learner.ledger import Ledger
from idealflow.workflow.learner.version import load_uncertainty_artifact, store_learner
from idealflow.workflow.stages.learned_labels import check_choice, learned_labels, left_out, refits
from idealflow.workflow.stages.thresholds import calibrated, fixed

__all__ = ["reopened"]


def reopened(
    maker: CampaignSettings, state: CampaignState, atoms: Atoms, store: JobStore, former: CampaignSettings | None = None
) -> CampaignState:
    """The stored state, brought in line with the Maker's settings; it records what they change and from which round on.

    Parameters
    ----------
    maker
        The campaign, with the settings that are asked for.
    state
        Its stored state.
    atoms
        The frame at step 0 that is asked for.
    store
        The job store that has the campaign.
    former
        For a campaign of version 0.1.0, which did not store its settings: what it was last run with, from the config in its
        folder.

    Raises
    ------
    InputError
        If the settings contradict what has been run, naming every key; or if labels of another method were learned and the
        settings do not say what becomes of them.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> from idealflow.workflow.campaign.opening import initial_state
    >>> state = initial_state(maker, bulk("Cu", cubic=True) * 3)
    >>> from dataclasses import replace
    >>> from jobflow import JobStore
    >>> from maggma.stores import MemoryStore
    >>> after = reopened(replace(maker, threshold=3.0), state, bulk("Cu", cubic=True) * 3, JobStore(MemoryStore()))
    >>> [(change.round, change.key, change.before, change.after) for change in after.changes]
    [(0, 'threshold', '"auto"', '3.0')]
    """
    asked = settings_of(maker)
    done = _furthest(state, store)
    differences, remarks = _differences(maker, state, asked, atoms, store, former, done)
    if refused := [entry for entry in differences if not entry.allowed]:
        raise refusal(state.campaign, refused)
    science = [entry for entry in differences if not of_the_site(entry.key)]
    changed = bool(science) or (state.settings is None and settings_changed(maker, state.settings_key))
    artifacts = root_of(maker, state)
    again = state.status == "failed" and state.sort_labels is not None  # no label could be made again
    if not changed and not again and state.status in ("finished", "failed"):
        return state.model_copy(update={"artifacts": artifacts})
    sorting = _sorting(maker, state, store, {entry.key for entry in science})
    threads = Settings().threads
    changes: dict[str, object] = {
        "artifacts": artifacts,
        "settings_key": science_key(maker),
        "settings": save_settings(ArtifactStore(artifacts), maker),
        "changes": [*state.changes, *_recorded(state, differences, threads)],
        "remarks": [*state.remarks, *(remark for remark in remarks if remark not in state.remarks)],
        "threads": threads,
        "sort_labels": None,
        **sorting,
    }
    if changed:
        changes |= _retaken(maker, state, {entry.key for entry in science}, Campaign(store, state.campaign))
    elif again:
        changes |= {"status": "running", "reason": "learned labels are made again", "recent_failures": []}
    elif state.status == "paused":
        changes |= {"status": "running", "reason": "under way"}
    after = state.model_copy(update=changes)
    action = next_action(after)
    return after.model_copy(update={"status": "finished", "reason": action.reason}) if action.kind == "stop" else after


def _retaken(maker: CampaignSettings, state: CampaignState, changed: set[str], campaign: Campaign) -> dict[str, object]:
    """Changes of the state by changed settings: it runs again, under new budgets."""
    steps = maker.segment.plan().n_steps
    lift = (
        state.lift_quarantine
        or labeller_changed(maker, state.labeller_key)
        or not is_key_of(state.model_key, model_of(maker))
        or any(key.startswith("crop.") for key in changed)
    )
    learner = state.learner
    if lift and learner is not None:
        learner = _without_quarantine(ArtifactStore(root_of(maker, state)), learner)
    again = {"unresolved": True} if state.status == "failed" else {}
    changes: dict[str, object] = {
        "status": "running",
        "reason": "taken up with changed settings",
        "schedule_steps": steps,
        "max_failed_labels": maker.max_failed_labels,
        "max_failed_fraction": maker.max_failed_fraction,
        "recent_failures": [],  # whoever changes settings after a stop has mended something
        "n_cropped": 0,
        "n_uncropped": 0,
        "uncropped_causes": {},
        "label_method": maker.label.method,
        "labeller_key": maker.label.key,
        "model_key": settings_key(model_of(maker)),
        "learner": learner,
        "lift_quarantine": False,
        "evaluation_frames": maker.evaluation.n_frames,
        "consolidate_every": maker.update.consolidate_every,
        "consolidation_share": maker.update.consolidation_share,
        "walkers": [
            walker.model_copy(update={"finished": walker.finished and walker.step >= steps and not again, **again})
            for walker in state.walkers
        ],
    }
    if steps != state.schedule_steps or maker.evaluation.n_frames != state.evaluation_frames:
        changes["evaluated"] = False
    if (number := fixed(maker.threshold)) is not None or (
        "threshold" in {key.partition(".")[0] for key in changed}
        and (number := calibrated(maker.threshold, campaign)) is not None
    ):
        changes["threshold"] = number
    return changes


def _without_quarantine(store: ArtifactStore, learner: LearnerVersion) -> LearnerVersion:
    """The learner with its quarantine lifted: those centres may trigger again, in the present frame first."""
    uncertainty = load_uncertainty_artifact(store, learner)
    if not any(uncertainty.n_quarantined.values()):
        return learner
    uncertainty = uncertainty.copy()
    uncertainty.forget_quarantined()
    with TemporaryDirectory() as directory:
        draft = Path(directory) / "learner"
        draft.mkdir()
        return store_learner(
            store,
            draft,
            learner.version + 1,
            force_field=None,
            uncertainty=uncertainty,
            ledger=None,
            before=learner,
        )


def _furthest(state: CampaignState, store: JobStore) -> int:
    """The last step that any walker has run, in a segment of the open round too."""
    open_round = Campaign(store, state.campaign).segments(round=state.round)
    return max([walker.step for walker in state.walkers] + [segment.last_step for segment in open_round])


def _differences(
    maker: CampaignSettings,
    state: CampaignState,
    asked: dict[str, Any],
    atoms: Atoms,
    store: JobStore,
    former: CampaignSettings | None,
    done: int,
) -> tuple[list[Difference], list[str]]:
    """Differences between what is asked for and what was run, and remarks on how they could be compared."""
    by_0_1 = state.settings is None
    artifacts = ArtifactStore(root_of(maker, state))
    campaign = Campaign(store, state.campaign)
    start = MDState.load(artifacts.get(campaign.first_frame() or state.walkers[0].md_state))
    seed = child_seed(maker.seed, 0, 0)
    differences, remarks = differences_of_the_start(start, maker.segment.initial_state(atoms, seed), by_0_1=by_0_1)
    if state.settings is not None:
        found, new = compared(load_settings(artifacts, state.settings), asked, done)
        version = "an earlier version"
    elif (known := _known_of_0_1(maker, state, former)) is not None:
        known_settings = without_new_keys(known, settings_of(known, hashed=False))
        found, new = compared(known_settings, asked, done)
        version = "version 0.1.0"
    else:
        found, new, version = _little_known(maker, state, campaign, start), [], ""
        remarks.append(
            "version 0.1.0 did not store the settings of its rounds, and no config of them was found: structure, schedule, time "
            "step, seed and labeller agree with what was run; nothing else could be compared"
        )
    given = {key for key in new if asked[key] != default_of(maker, key)}
    found += [Difference(key, f"not known to {version}", asked[key], allowed=may_change(key)) for key in sorted(given)]
    if unset := [key for key in new if key not in given]:
        remarks.append(f"{version} did not know, and the campaign goes on as it behaved: {', '.join(unset)}")
    if by_0_1 and state.learner is not None:
        remarks += _measured_anew(load_uncertainty_artifact(artifacts, state.learner), state)
    return [*differences, *found], remarks


def _measured_anew(uncertainty: Uncertainty, state: CampaignState) -> list[str]:
    """The remark that uncertainties differ from those of version 0.1.0, from which the threshold comes and stays."""
    if state.threshold is None or not isinstance(uncertainty, UncertaintyModel):
        return []
    return [
        f"uncertainties are this version's, to which few environments say less than to version 0.1.0; the threshold stays, "
        f"{state.threshold:.4g}, where `auto` would now give {uncertainty.auto_threshold():.4g}"
    ]


def _known_of_0_1(
    maker: CampaignSettings, state: CampaignState, former: CampaignSettings | None
) -> CampaignSettings | None:
    """The settings that a campaign of version 0.1.0 ran with, recognised by their hash; None if neither candidate has it."""
    for candidate in (former, maker):
        if candidate is not None and not settings_changed(candidate, state.settings_key):
            return candidate
    return None


def _little_known(
    maker: CampaignSettings, state: CampaignState, campaign: Campaign, start: MDState
) -> list[Difference]:
    """Differences that can be found from the state and the logs alone, for lack of stored settings."""
    found = [
        Difference(key, stored, mine, allowed=False)
        for key, mine, stored in (
            ("seed", maker.seed, state.seed),
            ("n_walkers", maker.n_walkers, len(state.walkers)),
        )
        if mine != stored
    ]
    steps = maker.segment.plan().n_steps
    if steps < (furthest := max(walker.step for walker in state.walkers)):
        raise InputError(f"the schedule has {steps} steps, but the campaign has already run {furthest}; lengthen it")
    found += contradictions_of_the_log(campaign.segments(), maker, start)
    if labeller_changed(maker, state.labeller_key):
        found.append(Difference("label.labeller", state.label_method, maker.label.method, allowed=True))
    return found


def _recorded(state: CampaignState, differences: Sequence[Difference], threads: int) -> list[SettingChange]:
    """The changes, each with the first round for which it holds."""
    told = [(entry.key, shown(entry.before), shown(entry.after)) for entry in differences]
    if state.threads is not None and threads != state.threads:
        told.append(("IDEALFLOW_THREADS", str(state.threads), str(threads)))
    return [SettingChange(round=state.round, key=key, before=before, after=after) for key, before, after in told]


def _sorting(maker: CampaignSettings, state: CampaignState, store: JobStore, changed: set[str]) -> dict[str, object]:
    """Changes of the state that say what is to be done with learned labels of another method, or without vacuum."""
    seldom = state.settings is not None and state.other_method is None
    if state.learner is None or (seldom and not any(key.startswith("label.") for key in changed)):
        return {}
    artifacts = ArtifactStore(root_of(maker, state))
    ledger = Ledger.load(artifacts, state.learner.ledger)
    found = learned_labels(store, state.campaign, ledger, maker.label)
    check_choice(state.campaign, found, maker.label)
    choice = maker.label.other_method
    out = left_out(found, choice)
    n_boxed = len(found.without_vacuum)
    kept: dict[str, object] = {"n_without_vacuum": n_boxed, "other_method": choice if found.other or n_boxed else None}
    changed_choice = any(key.startswith("label.") for key in changed)
    due = out & set(ledger.keys) if choice == "relabel" and not changed_choice else out
    if (choice == "relabel" and not due) or (choice != "relabel" and out == set(ledger.left_out)):
        return kept
    sort: OtherMethod = choice or "leave_out"
    n_used = len(ledger) + len(ledger.left_out) - len(out)
    if sort == "leave_out" and not refits(n_used, len(out), sort):
        uncertainty = load_uncertainty_artifact(artifacts, state.learner)
        if uncertainty.learns_labels:
            raise InputError(
                f"{len(out)} of the labels that the uncertainty {uncertainty.name} of campaign {state.campaign} has "
                "learned are to be left out, and too few are left to fit it anew; use label.other_method: relabel"
            )
    return kept | {"sort_labels": sort}
