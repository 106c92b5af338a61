"""What the documents of a round change in a campaign's state: where walkers are, what was learned, what failed.

Like :mod:`~idealflow.workflow.campaign.state` these functions are pure: they touch no store, file or clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from idealflow.schemas import (
    BootstrapDoc,
    CampaignState,
    LearnerVersion,
    ModelUpdateDoc,
    ScreenDoc,
    ScreenedBy,
    SegmentDoc,
    WalkerState,
)
from idealflow.wording import counted

__all__ = ["bootstrap_outcomes", "failures", "learned", "moved", "told"]

_TRIED_CENTRES = 3  # a campaign stops if none of its first so many centres could be cropped

_BLOW_UPS = 6  # in a row after one frame, at which a walker has failed; what each leaves is labelled and learned

_WINDOW = 20  # last labels, whose failures are compared with max_failed_fraction


def moved(state: CampaignState, segment: SegmentDoc, screen: ScreenDoc | None) -> WalkerState:
    """Where a walker is after its segment, and whether it has finished or failed.

    Parameters
    ----------
    state
        The state before the round.
    segment
        What the walker did.
    screen
        What was found in its last frame; None if the campaign does not learn.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> segment = campaign.segments()[-1]
    >>> moved(campaign.state(), segment, None).step == segment.last_step
    True
    """
    before = next(walker for walker in state.walkers if walker.walker == segment.walker)
    triggered = screen is not None and bool(screen.centres)
    # an interrupted run may have left a segment that ended a schedule which has been lengthened since
    done = segment.reason == "schedule_end" and segment.last_step >= state.schedule_steps and not triggered
    changes = {
        "step": segment.last_step,
        "md_state": segment.end_state,
        "reason": segment.reason,
        "unresolved": triggered and segment.reason != "blow_up",
        "screened": _screened(state, segment, screen),
        "finished": done,
        "failed": False,
    }
    if segment.reason == "blow_up":
        in_a_row = 1 + (before.n_blow_ups if before.blow_up_step == segment.last_step else 0)
        if in_a_row == _BLOW_UPS or screen is None or not screen.centres:
            what = f"blow-up {in_a_row} in a row" if in_a_row == _BLOW_UPS else "a blow-up with nothing to label"
            changes["failed"] = True
            changes["reason"] = (
                f"failed: {what} of walker {segment.walker} after its last good frame at step {segment.last_step}: "
                f"{segment.detail}; shorten the time step, lower the threshold, enlarge the bootstrap, or raise the limit "
                "(segment.max_force, max_temperature, max_kinetic_energy) if the reference goes beyond it"
            )
        changes |= {"blow_up_step": segment.last_step, "n_blow_ups": in_a_row}
    elif segment.last_step > before.step:
        changes |= {"blow_up_step": None, "n_blow_ups": 0}
    return before.model_copy(update=changes)


def _screened(state: CampaignState, segment: SegmentDoc, screen: ScreenDoc | None) -> ScreenedBy | None:
    """By what the frame that a segment ended on was screened, if nothing in it triggered."""
    if state.learner is None or screen is None or screen.n_triggering or segment.reason == "blow_up":
        return None
    return ScreenedBy(
        uncertainty=state.learner.uncertainty.sha256, threshold=screen.threshold, max_uncertainty=screen.max_uncertainty
    )


def learned(state: CampaignState, update: ModelUpdateDoc, walkers: Sequence[WalkerState]) -> dict[str, Any]:
    """Fields of the state that a model update changes: the learner, the counts, and the end where too much failed.

    Parameters
    ----------
    state
        The state before the round.
    update
        What was learned.
    walkers
        The walkers after the round.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> state, update = campaign.state(), campaign.updates()[-1]
    >>> learned(state, update, state.walkers)["n_substructures"] == state.n_substructures + len(update.accepted)
    True
    """
    seen = set(state.recent_labelled)
    fresh = [pair for pair in update.labelled_frames if pair not in seen]
    reached = {walker.walker: walker.step for walker in walkers}
    learner: LearnerVersion = update.learner
    changes: dict[str, Any] = {
        "learner": learner,
        "lift_quarantine": False,
        "lost_labels": update.lost,
        "n_labelled_frames": state.n_labelled_frames + len(fresh),
        "recent_labelled": [pair for pair in sorted(seen | set(fresh)) if pair[1] >= reached[pair[0]]],
        "n_substructures": state.n_substructures + len(update.accepted),
        "n_quarantined": state.n_quarantined + len(update.quarantined),
        "n_rejected_updates": state.n_rejected_updates + (update.decision == "rejected"),
        "n_unconsolidated": state.n_unconsolidated + (update.decision != "nothing_new" and update.consolidates),
        "blow_up_unlearned": any(
            each.reason == "blow_up" and (each.n_blow_ups > 1 or update.decision == "rejected") for each in walkers
        ),
        "atom_steps": state.atom_steps + update.atom_steps,
        "label_seconds": state.label_seconds + update.label_seconds,
        "too_few": update.too_few,
    }
    outcomes = {**dict.fromkeys(update.accepted, False), **dict.fromkeys(update.failed, True)}
    failed = failures(state, update.causes, [outcomes[key] for key in sorted(outcomes)])
    cropped = state.n_cropped + len(outcomes) - update.uncropped
    uncropped = state.n_uncropped + update.uncropped
    changes |= {"n_cropped": cropped, "n_uncropped": uncropped}
    if not cropped:  # then every cause is one of these centres'
        causes = Counter(state.uncropped_causes) + Counter(update.causes)
        changes["uncropped_causes"] = dict(causes)
        ends = all(walker.finished for walker in walkers)
        if update.uncropped and (uncropped >= _TRIED_CENTRES or ends):
            changes |= {"status": "failed", "reason": _uncropped(uncropped, causes)}
    return changes | failed


def _uncropped(n_centres: int, causes: Counter[str]) -> str:
    """Why a campaign ends that could not make a single crop, and what helps."""
    if unknown := n_centres - causes.total():  # counted by an earlier version, which did not store the causes
        causes = causes + Counter({"in earlier rounds": unknown})
    budget = any("within crop.max_atoms" in cause for cause in causes)
    remedy = "Raise crop.max_atoms" if budget else "Do what the causes ask for"
    return f"for none of {n_centres} centres a crop was found: {told(causes)}. {remedy}, and run the same command again"


def bootstrap_outcomes(doc: BootstrapDoc) -> list[bool]:
    """Whether each label of the bootstrap failed, in the order of their numbers, with which their keys end.

    Examples
    --------
    >>> bootstrap_outcomes(BootstrapDoc.model_construct(failed={"copper/bootstrap/1": "no licence"}, n_labelled_here=2))
    [False, True, False]
    """
    failed = {int(key.rsplit("/", 1)[1]) for key in doc.failed}
    return [number in failed for number in range(doc.n_labelled_here + len(failed))]


def failures(state: CampaignState, causes: Mapping[str, int], outcomes: Sequence[bool] | None) -> dict[str, Any]:
    """Changes of the state by failed labels: their counts by cause, and the end of the campaign if a budget is exceeded.

    Parameters
    ----------
    state
        The state before.
    causes
        How many new labels failed by each cause.
    outcomes
        Whether each new label failed, in order; None: the campaign is not stopped.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> state = sample_campaign().state().model_copy(update={"max_failed_labels": 0})
    >>> changes = failures(state, {"no licence": 1}, [True])
    >>> changes["n_failed_labels"], changes["status"]
    (1, 'failed')
    """
    by_cause = Counter(state.failure_causes) + Counter(causes)
    failed = state.n_failed_labels + sum(causes.values())
    changes: dict[str, Any] = {"n_failed_labels": failed, "failure_causes": dict(by_cause)}
    if outcomes is None:
        return changes
    recent = [*state.recent_failures, *outcomes][-_WINDOW:]
    changes["recent_failures"] = recent
    exceeded = None
    if state.max_failed_labels is not None and failed > state.max_failed_labels:
        exceeded = f"{counted(failed, 'label')} failed, more than max_failed_labels = {state.max_failed_labels} allows"
    elif (
        state.max_failed_fraction is not None
        and len(recent) == _WINDOW
        and sum(recent) > state.max_failed_fraction * _WINDOW
    ):
        exceeded = (
            f"{sum(recent)} of the last {_WINDOW} labels failed, more than max_failed_fraction = "
            f"{state.max_failed_fraction:g} allows"
        )
    if exceeded is not None:
        changes |= {
            "status": "failed",
            "reason": f"{exceeded}; in the whole campaign: {told(by_cause)}. Mend the labeller or raise the budget",
        }
    return changes


def told(causes: Mapping[str, int]) -> str:
    """Causes with how often each occurred, the most frequent first.

    Examples
    --------
    >>> told({"no licence": 1, "wall time ran out": 3})
    '3× wall time ran out; 1× no licence'
    """
    return "; ".join(f"{count}× {cause}" for cause, count in Counter(causes).most_common())
