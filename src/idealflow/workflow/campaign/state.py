"""The logic of a campaign: what comes next (`next_action`), and the state after it is done (`after_*`).

The functions are pure: they touch no store, file or clock. The local driver, run_locally and rockets all call them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from idealflow.schemas import (
    UNLIKE,
    BootstrapDoc,
    CampaignState,
    ConsolidationDoc,
    EvaluationDoc,
    ModelUpdateDoc,
    RelabelDoc,
    ScreenDoc,
    SegmentDoc,
)
from idealflow.workflow.campaign.outcomes import bootstrap_outcomes, failures, learned, moved, told

__all__ = [
    "Action",
    "after_bootstrap",
    "after_consolidation",
    "after_evaluation",
    "after_relabel",
    "after_round",
    "consolidation_budget",
    "next_action",
]


@dataclass(frozen=True)
class Action:
    """What a campaign does next.

    Attributes
    ----------
    kind
        ``bootstrap``, ``relabel``, ``round``, ``consolidate``, ``evaluate`` or ``stop``.
    walkers
        Walkers that take part in a round; those that are still under way at a consolidation.
    reason
        Why, in words; shown to the user on ``stop``.

    Examples
    --------
    >>> Action("round", walkers=(0, 1), reason="2 of 2 walkers are under way").kind
    'round'
    """

    kind: Literal["bootstrap", "relabel", "round", "consolidate", "evaluate", "stop"]
    walkers: tuple[int, ...] = ()
    reason: str = ""


def next_action(state: CampaignState) -> Action:
    """What a campaign does next. It follows from the state alone.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> from idealflow.workflow import next_action
    >>> from idealflow.workflow.campaign.opening import initial_state
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> state = initial_state(IdealMaker(label=label, artifacts="memory://copper"), bulk("Cu", cubic=True) * 3)
    >>> next_action(state).kind, next_action(state).reason
    ('bootstrap', 'there is no model yet')
    >>> next_action(state.model_copy(update={"status": "failed", "reason": "no licence"})).kind
    'stop'
    """
    if state.status in ("finished", "failed"):
        return Action("stop", reason=state.reason)
    if state.learner is None:
        return Action("bootstrap", reason="there is no model yet")
    if state.sort_labels is not None:
        return Action("relabel", reason="learned labels are brought in line with the present labeller")
    active = tuple(walker.walker for walker in state.walkers if not walker.finished)
    if _consolidation_due(state, active):
        return Action("consolidate", active, reason=f"all data are learned together {_when(state, active)}")
    if active:
        return Action("round", active, reason=f"{len(active)} of {len(state.walkers)} walkers are under way")
    if state.evaluation_frames and not state.evaluated:
        return Action("evaluate", reason="the schedule is done; whole frames are compared with the reference")
    return Action("stop", reason="the schedule is done")


def _consolidation_due(state: CampaignState, active: Sequence[int]) -> bool:
    """Whether enough was learned since all data were last learned together.

    Any update is enough once the schedule is done, and where the labels of a blow-up were refused, or an update learned them and
    it blew up again.
    """
    if not state.consolidate_every or not state.n_unconsolidated:
        return False
    return not active or state.blow_up_unlearned or state.n_unconsolidated >= state.consolidate_every


def _when(state: CampaignState, active: Sequence[int]) -> str:
    """When all data are learned together, in words."""
    if not active:
        return "in the end"
    return "since a blow-up was not learned" if state.blow_up_unlearned else f"{state.n_unconsolidated} updates later"


def consolidation_budget(state: CampaignState) -> int:
    """What the next consolidation may cost: atoms times steps.

    All of them together cost at most a set share of what the dynamics and the other training have cost. Counts stand for times
    here, so that the result of a campaign hangs on no clock. Labels are left out, so the share of the time is smaller. One
    that has to learn a blow-up, without which the dynamics cannot go on, may cost as much again as dynamics and training;
    later ones wait.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> state = sample_campaign().state()
    >>> state = state.model_copy(update={"consolidation_share": 0.5, "atom_steps": 90_000, "consolidation_atom_steps": 8_000})
    >>> state.n_atoms, state.walkers[0].step, consolidation_budget(state)
    (107, 60, 40210)
    """
    done = state.n_atoms * sum(walker.step for walker in state.walkers) + state.atom_steps
    share = state.consolidation_share + state.blow_up_unlearned
    return int(share * done) - state.consolidation_atom_steps


def after_bootstrap(state: CampaignState, doc: BootstrapDoc, threshold: float | None) -> CampaignState:
    """State after the first model.

    Parameters
    ----------
    state
        The state before it.
    doc
        What the bootstrap stored.
    threshold
        Threshold that the user set; None: the one that the bootstrap derived.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> from idealflow.workflow.campaign.opening import initial_state
    >>> state = initial_state(maker, bulk("Cu", cubic=True) * 3)
    >>> from idealflow.schemas import BootstrapDoc
    >>> doc = BootstrapDoc.model_construct(
    ...     source="dataset", learner=None, threshold=2.5, failed={}, notes=[], n_labelled_here=0, seconds=8.0
    ... )
    >>> after = after_bootstrap(state, doc, threshold=None)
    >>> after.round, after.threshold, after.wall_s
    (1, 2.5, 8.0)
    """
    return _settled(
        state,
        learner=doc.learner,
        first_learner=doc.learner,
        threshold=doc.threshold if threshold is None else threshold,
        too_few=doc.too_few,
        atom_steps=doc.atom_steps,
        n_bootstrap_labels=doc.n_labelled_here if doc.source == "structures" else 0,  # else of a dataset's check
        wall_s=state.wall_s + doc.seconds,
        notes=list(dict.fromkeys([*state.notes, *doc.notes])),
        **failures(state, Counter(doc.failed.values()), bootstrap_outcomes(doc)),
    )


def after_round(
    state: CampaignState,
    segments: Sequence[SegmentDoc],
    screens: Sequence[ScreenDoc],
    update: ModelUpdateDoc | None,
    seconds: float,
) -> CampaignState:
    """State after a round: where the walkers are now, the learner's new version, and the counts.

    Parameters
    ----------
    state
        The state before it.
    segments, screens
        One of each for every walker that took part, in any order; no screens if the campaign does not learn.
    update
        The round's model update; None if the campaign does not learn.
    seconds
        Time that the stages of the round took, s.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> from idealflow.workflow.campaign.opening import initial_state
    >>> state = initial_state(maker, bulk("Cu", cubic=True) * 3)
    >>> after = after_round(state, segments=[], screens=[], update=None, seconds=2.0)
    >>> after.round, after.walkers == state.walkers, after.wall_s
    (1, True, 2.0)
    """
    screened = {screen.walker: screen for screen in screens}
    after = {segment.walker: moved(state, segment, screened.get(segment.walker)) for segment in segments}
    walkers = [after.get(walker.walker, walker) for walker in state.walkers]
    failed = [walker for walker in after.values() if walker.failed]
    changes: dict[str, Any] = {"walkers": walkers, "wall_s": state.wall_s + seconds}
    if update is not None:
        changes |= learned(state, update, walkers)
    if failed:
        changes |= {"status": "failed", "reason": failed[0].reason}
    if not any(UNLIKE in note for note in state.notes):
        first = [each.unknown.told(each.walker, each.last_step) for each in segments if each.unknown is not None]
        changes["notes"] = [*state.notes, *first[:1]]
    return _settled(state, **changes)


def after_relabel(state: CampaignState, doc: RelabelDoc, *, automatic: bool) -> CampaignState:
    """State after learned labels of another method were left out or made again.

    The whole-frame comparison is due again, since model and method have changed. If every new label failed, the campaign has
    failed; it tries again when it is taken up.

    Parameters
    ----------
    state
        The state before it.
    doc
        What was done with the labels.
    automatic
        Whether the threshold is ``auto``, so that it follows the new distribution.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> from idealflow.workflow.campaign.opening import initial_state
    >>> state = initial_state(maker, bulk("Cu", cubic=True) * 3)
    >>> from idealflow.schemas import RelabelDoc
    >>> doc = RelabelDoc.model_construct(
    ...     learner=None, failed={"copper/1": "no licence"}, relabelled={}, n_without_vacuum=0, method="PBE", refitted=False,
    ...     threshold=None, seconds=1.0,
    ... )
    >>> print(after_relabel(state, doc, automatic=True).reason)  # doctest: +ELLIPSIS
    none of 1 learned labels could be made again by PBE: 1× no licence; the model is as before. ...
    """
    outcomes = [key in doc.failed for key in sorted({*doc.failed, *doc.relabelled})]
    causes = Counter(doc.failed.values())
    changes: dict[str, Any] = {
        "learner": doc.learner,
        "sort_labels": None,
        "n_without_vacuum": doc.n_without_vacuum,
        "threshold": doc.threshold if automatic and doc.threshold is not None else state.threshold,
        "wall_s": state.wall_s + doc.seconds,
        "evaluated": False,
        **failures(state, causes, outcomes),
        "n_unconsolidated": 0 if doc.refitted else state.n_unconsolidated,
    }
    if doc.failed and not doc.relabelled:
        changes |= {
            "sort_labels": state.sort_labels,
            "evaluated": state.evaluated,
            "status": "failed",
            "reason": f"none of {len(doc.failed)} learned labels could be made again by {doc.method}: {told(causes)}; the model "
            "is as before. Mend the labeller, and run the same command again",
        }
    return _settled(state, **changes)


def after_consolidation(state: CampaignState, doc: ConsolidationDoc) -> CampaignState:
    """State after all data were learned together, or were not because it did not help.

    Parameters
    ----------
    state
        The state before it.
    doc
        What became of it.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> state = sample_campaign().state().model_copy(update={"n_unconsolidated": 3})
    >>> doc = ConsolidationDoc.model_construct(learner=state.learner, decision="accepted", atom_steps=500, seconds=2.0)
    >>> after = after_consolidation(state, doc)
    >>> after.n_unconsolidated, after.n_consolidations, after.consolidation_atom_steps
    (0, 1, 500)
    """
    return _settled(
        state,
        learner=doc.learner,
        n_unconsolidated=0,
        blow_up_unlearned=False,
        n_consolidations=state.n_consolidations + (doc.decision == "accepted"),
        n_discarded_consolidations=state.n_discarded_consolidations + (doc.decision == "discarded"),
        consolidation_atom_steps=state.consolidation_atom_steps + doc.atom_steps,
        wall_s=state.wall_s + doc.seconds,
    )


def after_evaluation(state: CampaignState, doc: EvaluationDoc) -> CampaignState:
    """State after the whole-frame comparison.

    Parameters
    ----------
    state
        The state before it.
    doc
        What the comparison found.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> from idealflow.workflow.campaign.opening import initial_state
    >>> state = initial_state(maker, bulk("Cu", cubic=True) * 3)
    >>> from idealflow.schemas import EvaluationDoc
    >>> after_evaluation(state, EvaluationDoc.model_construct(failed={}, seconds=30.0)).evaluated
    True
    """
    return _settled(
        state,
        evaluated=True,
        wall_s=state.wall_s + doc.seconds,
        **failures(state, Counter(doc.failed.values()), None),  # there is nothing left to stop
    )


def _settled(state: CampaignState, **changes: Any) -> CampaignState:
    """The next state: one round further; running unless ``changes`` say otherwise, finished if nothing is left to do."""
    changes = {"round": state.round + 1, "status": "running", "reason": "under way", **changes}
    after = state.model_copy(update=changes)
    action = next_action(after)
    if action.kind == "stop" and after.status == "running":
        after = after.model_copy(update={"status": "finished", "reason": action.reason})
    return after
