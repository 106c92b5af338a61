"""The loop's logic, on states alone: no store, no file, no clock."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idealflow.schemas import (
    Artifact,
    BootstrapDoc,
    CampaignState,
    CentreDoc,
    ConsolidationDoc,
    LearnerVersion,
    ModelUpdateDoc,
    ScreenDoc,
    SegmentDoc,
    WalkerState,
)
from idealflow.workflow.campaign.state import (
    after_bootstrap,
    after_consolidation,
    after_round,
    consolidation_budget,
    next_action,
)


def artifact(name: str) -> Artifact:
    return Artifact(path=name, sha256=name, size=1)


def learner(version: int = 0) -> LearnerVersion:
    return LearnerVersion(
        version=version, force_field=artifact(f"f{version}"), uncertainty=artifact(f"u{version}"), ledger=artifact("l")
    )


def state(n_walkers: int = 1, **changes: Any) -> CampaignState:
    walkers = [
        WalkerState(walker=i, step=0, md_state=artifact("m"), reason="start", unresolved=True) for i in range(n_walkers)
    ]
    fields = {
        "campaign": "c", "round": 3, "status": "running", "reason": "", "settings_key": "", "artifacts": "a", "seed": 0,
        "n_atoms": 4, "schedule_steps": 100, "walkers": walkers, "learner": learner(), "first_learner": learner(),
        "threshold": 4.0, "label_method": "EMT", "labeller_key": "", "model_key": "", "max_failed_labels": None,
        "evaluation_frames": 0,
    }  # fmt: skip
    return CampaignState(**(fields | changes))


def segment(walker: int = 0, last: int = 10, reason: str = "triggered", **changes: Any) -> SegmentDoc:
    fields = {
        "uuid": "s", "campaign": "c", "round": 3, "walker": walker, "model_version": 0, "first_step": 0, "last_step": last,
        "reason": reason, "start_state": artifact("m"), "end_state": artifact(f"e{last}"), "frame": artifact("fr"),
        "frame_step": last, "trajectory": None, "log": {}, "seconds": 1.0,
    }  # fmt: skip
    return SegmentDoc(**(fields | changes))


def screen(walker: int = 0, step: int = 10, n_centres: int = 1) -> ScreenDoc:
    return ScreenDoc(
        campaign="c", round=3, walker=walker, step=step, segment_uuid="s", model_version=0, threshold=4.0, n_atoms=4,
        n_uncertain=n_centres, n_triggering=n_centres, max_uncertainty=9.0, quantiles={},
        centres=[CentreDoc(atom=i, species="Cu", uncertainty=9.0) for i in range(n_centres)], seconds=0.1,
    )  # fmt: skip


def update(
    frames: list[tuple[int, int]], accepted: int = 1, failed: int = 0, version: int = 1, **changes: Any
) -> ModelUpdateDoc:
    doc = ModelUpdateDoc(
        campaign="c", round=3, version_before=0, version_after=version, decision="accepted", reason="",
        accepted=[f"k{i}" for i in range(accepted)], learned=[f"k{i}" for i in range(accepted)],
        failed=[f"x{i}" for i in range(failed)], causes={"no": failed} if failed else {}, quarantined=[], replayed=[],
        new_before=None, new_after=None, held_out_before=None, held_out_after=None, n_samples={}, learner=learner(version),
        labelled_frames=frames, label_seconds=2.0, seconds=1.0,
    )  # fmt: skip
    return doc.model_copy(update=changes)


def test_without_a_model_comes_the_bootstrap() -> None:
    assert next_action(state(learner=None)).kind == "bootstrap"


def test_bootstrap_sets_learner_and_threshold() -> None:
    doc = BootstrapDoc(
        campaign="c", round=0, source="structures", n_structures=4, n_labelled_here=4, failed={"c/bootstrap/000002": "why"},
        train_errors=None, held_out_errors=None, threshold=3.0, learner=learner(), seconds=1.0,
    )  # fmt: skip
    after = after_bootstrap(state(learner=None, round=0), doc, None)
    assert (after.round, after.threshold, after.n_failed_labels) == (1, 3.0, 1)
    assert after.recent_failures == [False, False, True, False, False]
    assert after_bootstrap(state(learner=None), doc, 7.0).threshold == 7.0
    assert next_action(after).kind == "round"


def test_a_triggered_frame_is_screened_again() -> None:
    after = after_round(state(), [segment()], [screen()], update([(0, 10)]), 1.0)
    assert after.walkers[0].unresolved
    assert after.walkers[0].step == 10
    assert not after.walkers[0].finished
    assert after.learner is not None
    assert after.learner.version == 1


def test_the_schedule_is_done_only_when_its_last_frame_is_resolved() -> None:
    pending = after_round(
        state(), [segment(last=100, reason="schedule_end")], [screen(step=100)], update([(0, 100)]), 1.0
    )
    assert next_action(pending).kind == "round"
    done = after_round(
        pending,
        [segment(last=100, reason="schedule_end")],
        [screen(step=100, n_centres=0)],
        update([], accepted=0),
        1.0,
    )
    assert done.status == "finished"
    assert next_action(done).kind == "stop"


def test_a_schedule_that_was_lengthened_while_its_last_segment_was_open_goes_on() -> None:
    """The segment of an interrupted round ended with the old schedule, at step 60; the new one has 100."""
    old_end = [segment(last=60, reason="schedule_end")]
    after = after_round(state(), old_end, [screen(step=60, n_centres=0)], update([], accepted=0), 1.0)
    assert not after.walkers[0].finished
    assert next_action(after).kind == "round"


def test_three_centres_without_a_crop_stop_the_campaign_unless_others_had_one() -> None:
    without = update([], accepted=0, failed=2).model_copy(update={"uncropped": 2})
    once = after_round(state(), [segment()], [screen()], without, 1.0)
    assert (once.status, once.n_uncropped, once.n_cropped) == ("running", 2, 0)
    twice = after_round(once, [segment()], [screen()], without, 1.0)
    assert twice.status == "failed"
    assert "for none of 4 centres a crop was found: 4× no. Do what the causes ask for, and run" in twice.reason
    assert "max_atoms" not in twice.reason
    budget = without.model_copy(update={"causes": {"too large, not within crop.max_atoms": 2}})
    both = after_round(once, [segment()], [screen()], budget, 1.0)
    assert "found: 2× no; 2× too large, not within crop.max_atoms. Raise crop.max_atoms, and run" in both.reason
    older = once.model_copy(update={"uncropped_causes": {}})  # of a version that kept none
    assert (
        "4 centres a crop was found: 2× no; 2× in earlier rounds."
        in after_round(older, [segment()], [screen()], without, 1.0).reason
    )
    fine = after_round(once, [segment()], [screen()], update([(0, 10)]), 1.0)
    assert after_round(fine, [segment()], [screen()], without, 1.0).status == "running"


def test_a_single_centre_without_a_crop_is_no_success_at_the_end() -> None:
    without = update([], accepted=0, failed=1).model_copy(update={"uncropped": 1})
    ended = [segment(last=100, reason="schedule_end")]
    after = after_round(state(), ended, [screen(step=100, n_centres=0)], without, 1.0)
    assert after.status == "failed"


def test_evaluation_comes_before_the_end() -> None:
    done = after_round(
        state(evaluation_frames=5),
        [segment(last=100, reason="schedule_end")],
        [screen(step=100, n_centres=0)],
        update([], accepted=0),
        1.0,
    )
    assert done.status == "running"
    assert next_action(done).kind == "evaluate"


def test_a_frame_labelled_in_two_rounds_counts_once() -> None:
    once = after_round(state(), [segment()], [screen()], update([(0, 10)], accepted=2), 1.0)
    twice = after_round(once, [segment()], [screen()], update([(0, 10)]), 1.0)
    other = after_round(twice, [segment(last=20)], [screen(step=20)], update([(0, 20)]), 1.0)
    assert (twice.n_labelled_frames, twice.n_substructures) == (1, 3)
    assert other.n_labelled_frames == 2


def test_the_sixth_blow_up_at_one_frame_fails_the_campaign_with_its_reason() -> None:
    blown = segment(last=0, reason="blow_up", frame_step=7, detail="force 1e9 eV/Å above 100")
    after, kinds = state(consolidate_every=10), []
    for _ in range(5):
        after = after_round(after, [blown], [screen(step=7)], update([(0, 7)], consolidates=True), 1.0)
        kinds.append(next_action(after).kind)
        if kinds[-1] == "consolidate":
            after = after_consolidation(after, consolidated())
    assert (after.status, kinds) == ("running", ["round", *["consolidate"] * 4])
    again = after_round(after, [segment(last=0)], [screen(step=0)], update([(0, 0)], consolidates=True), 1.0)
    assert next_action(again).kind == "round"  # the frame asks once more by the new model: nothing has blown up
    failed = after_round(after, [blown], [screen(step=7)], update([(0, 7)], consolidates=True), 1.0)
    assert failed.status == "failed"
    assert "blow-up 6 in a row" in failed.reason
    assert "force 1e9" in failed.reason
    assert next_action(failed).kind == "stop"


def test_progress_after_a_blow_up_forgives_it() -> None:
    blown = segment(last=0, reason="blow_up", frame_step=7)
    once = after_round(state(), [blown], [screen(step=7)], update([(0, 7)]), 1.0)
    further = after_round(once, [segment(last=10)], [screen(step=10)], update([(0, 10)]), 1.0)
    again = after_round(
        further, [segment(last=10, reason="blow_up", frame_step=13)], [screen(step=13)], update([(0, 13)]), 1.0
    )
    assert again.status == "running"


def test_too_many_failed_labels_stop_the_campaign_and_count_the_causes() -> None:
    after = after_round(state(max_failed_labels=2), [segment()], [screen()], update([], accepted=0, failed=3), 1.0)
    assert after.status == "failed"
    assert "3× no" in after.reason


def test_more_than_half_of_the_last_twenty_labels_failing_stops_the_campaign() -> None:
    tried = state(max_failed_fraction=0.5, recent_failures=[False] * 9 + [True] * 10)
    half = tried.model_copy(update={"recent_failures": [False] * 10 + [True] * 9, "n_failed_labels": 9})
    failing = update([], accepted=0, failed=1)
    after = after_round(half, [segment()], [screen()], failing, 1.0)
    assert after.status == "running"  # ten of twenty
    after = after_round(tried, [segment()], [screen()], failing, 1.0)
    assert after.status == "failed"
    assert "11 of the last 20 labels failed, more than max_failed_fraction = 0.5 allows" in after.reason
    assert "1× no" in after.reason
    few = state(max_failed_fraction=0.5, recent_failures=[True] * 18)
    assert (
        after_round(few, [segment()], [screen()], failing, 1.0).status == "running"
    )  # nineteen labels tell too little
    never = tried.model_copy(update={"max_failed_fraction": None})
    assert after_round(never, [segment()], [screen()], failing, 1.0).status == "running"
    assert len(after.recent_failures) == 20


def test_old_failures_are_forgotten() -> None:
    before = state(max_failed_fraction=0.5, recent_failures=[True] * 10 + [False] * 10, n_failed_labels=10)
    after = after_round(before, [segment()], [screen()], update([], accepted=0, failed=1), 1.0)
    assert after.status == "running"
    assert after.recent_failures == [True] * 9 + [False] * 10 + [True]


def test_inference_moves_without_screens_and_updates() -> None:
    after = after_round(state(), [segment(last=100, reason="schedule_end")], [], None, 1.0)
    assert after.status == "finished"
    assert after.learner == learner()


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.sampled_from(["triggered", "segment_end", "schedule_end"]), min_size=1, max_size=30), st.integers(1, 3)
)
def test_every_campaign_ends_and_every_round_counts(reasons: list[str], n_walkers: int) -> None:
    """Walkers with any history end once their schedule does, and rounds are numbered without gaps."""
    current, step = state(n_walkers), 0
    for reason in reasons:
        action = next_action(current)
        if action.kind == "stop":
            break
        step += reason != "triggered"
        segments = [segment(w, step, reason) for w in action.walkers]
        screens = [screen(w, step, int(reason == "triggered")) for w in action.walkers]
        before = current.round
        current = after_round(current, segments, screens, update([(w, step) for w in action.walkers]), 0.5)
        assert current.round == before + 1
        assert all(walker.finished for walker in current.walkers) == (current.status == "finished")
    assert CampaignState.model_validate(current.model_dump(mode="json")) == current


@pytest.mark.parametrize("status", ["finished", "failed"])
def test_an_ended_campaign_has_nothing_to_do(status: str) -> None:
    assert next_action(state(status=status, reason="why")).reason == "why"


def consolidated(decision: str = "accepted", **changes: Any) -> ConsolidationDoc:
    fields = {
        "campaign": "c", "round": 3, "seconds": 7.0, "version_before": 0, "version_after": 1, "decision": decision, "reason": "",
        "last": False, "n_structures": 5, "steps": 10, "atom_steps": 300, "held_out_before": None, "held_out_after": None,
        "all_before": None, "all_after": None, "learner": learner(1),
    }  # fmt: skip
    return ConsolidationDoc(**(fields | changes))


def test_all_data_are_learned_together_after_so_many_updates() -> None:
    before = state(consolidate_every=3, n_unconsolidated=2)
    assert next_action(before).kind == "round"
    after = after_round(before, [segment()], [screen()], update([(0, 10)], consolidates=True, atom_steps=40), 1.0)
    assert (after.n_unconsolidated, after.atom_steps) == (3, 40)
    action = next_action(after)
    assert (action.kind, action.walkers) == ("consolidate", (0,))
    done = after_consolidation(after, consolidated())
    assert (done.n_unconsolidated, done.n_consolidations, done.consolidation_atom_steps) == (0, 1, 300)
    assert (done.round, done.learner) == (after.round + 1, learner(1))
    assert next_action(done).kind == "round"


def test_a_blow_up_that_was_not_learned_is_consolidated_at_once() -> None:
    before = state(consolidate_every=10, consolidation_share=1.0)
    blown, refused = segment(reason="blow_up"), {"consolidates": True, "decision": "rejected"}
    after = after_round(before, [blown], [screen()], update([(0, 10)], **refused), 1.0)
    assert next_action(after).kind == "consolidate"
    assert "blow-up" in next_action(after).reason
    dynamics_and_training = 4 * 10 + after.atom_steps
    spent = after.model_copy(update={"consolidation_atom_steps": dynamics_and_training})
    assert consolidation_budget(spent) == dynamics_and_training > 0  # though the share of all is spent
    done = after_consolidation(after, consolidated())
    assert next_action(done).kind == "round"
    assert done.walkers[0].n_blow_ups == 1


@pytest.mark.parametrize(
    ("reason", "refused", "every"),
    [("triggered", "rejected", 10), ("blow_up", "accepted", 10), ("blow_up", "rejected", 0)],
)
def test_only_a_blow_up_that_was_not_learned_is_consolidated_at_once(reason: str, refused: str, every: int) -> None:
    learned = update([(0, 10)], consolidates=True, decision=refused)
    after = after_round(state(consolidate_every=every), [segment(reason=reason)], [screen()], learned, 1.0)
    assert next_action(after).kind == "round"


@pytest.mark.parametrize("decision", ["discarded", "skipped"])
def test_a_consolidation_that_did_not_help_is_not_tried_again_at_once(decision: str) -> None:
    after = after_consolidation(state(consolidate_every=3, n_unconsolidated=3), consolidated(decision))
    assert next_action(after).kind == "round"
    assert after.n_consolidations == 0
    assert after.n_discarded_consolidations == (decision == "discarded")


def test_any_update_is_consolidated_in_the_end_and_before_the_evaluation() -> None:
    ended = state(consolidate_every=10, n_unconsolidated=1, evaluation_frames=2)
    ended.walkers[0].finished = True
    action = next_action(ended)
    assert (action.kind, action.walkers) == ("consolidate", ())
    assert next_action(after_consolidation(ended, consolidated())).kind == "evaluate"


def test_campaigns_of_earlier_versions_and_other_force_fields_are_never_consolidated() -> None:
    ended = state(n_unconsolidated=5)
    ended.walkers[0].finished = True
    assert next_action(ended).kind == "stop"
    after = after_round(state(consolidate_every=1), [segment()], [screen()], update([(0, 10)]), 1.0)
    assert after.n_unconsolidated == 0
    assert next_action(after).kind == "round"


def test_a_refused_update_counts_since_its_labels_wait_for_a_consolidation() -> None:
    rejected = update([(0, 10)], decision="rejected", consolidates=True)
    after = after_round(state(consolidate_every=1), [segment()], [screen()], rejected, 1.0)
    assert after.n_unconsolidated == 1
    assert next_action(after).kind == "consolidate"


def test_consolidations_share_a_budget_that_counts_and_times_nothing() -> None:
    ran = state(consolidation_share=0.5, atom_steps=1000, consolidation_atom_steps=200)
    ran.walkers[0].step = 50
    assert consolidation_budget(ran) == (4 * 50 + 1000) // 2 - 200
    slow = ran.model_copy(update={"wall_s": 1e9})
    assert consolidation_budget(slow) == consolidation_budget(ran)
