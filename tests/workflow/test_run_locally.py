"""The campaign as one flow under jobflow's own run_locally, on stores with and without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jobflow import JobStore
from jobflow.managers.local import run_locally
from maggma.stores import MemoryStore

from idealflow import Campaign
from idealflow.errors import InputError
from idealflow.schemas import CampaignState
from idealflow.workflow import IdealMaker
from support import tiny


def memory(_: Path) -> JobStore:
    return JobStore(MemoryStore())


def monty(folder: Path) -> JobStore:
    pytest.importorskip("montydb", reason="maggma's MontyStore needs montydb, which is not installed")
    from maggma.stores.mongolike import MontyStore

    return JobStore(MontyStore("jobs", database_path=str(folder), storage="sqlite"))


def call(maker: IdealMaker, store: JobStore, folder: Path) -> CampaignState:
    """One call of the flow, as a user writes it; the campaign's state after it."""
    run_locally(maker.make(tiny.frame()), store=store, log=False, ensure_success=True, root_dir=folder)
    state = Campaign(store, "tiny").state()
    assert state is not None
    return state


def same_result(state: CampaignState, campaign: Campaign, finished: Any) -> None:
    """The same labels and the same learner, to the bit, as the local driver's."""
    for version in ("learner", "first_learner"):
        mine, its = getattr(state, version), getattr(finished.state, version)
        assert mine.version == its.version
        assert mine.force_field.sha256 == its.force_field.sha256
        assert mine.uncertainty.sha256 == its.uncertainty.sha256
        assert mine.ledger.sha256 == its.ledger.sha256
    timed = {"seconds", "core_seconds"}
    assert [doc.model_dump(exclude=timed) for doc in campaign.substructures()] == [
        doc.model_dump(exclude=timed) for doc in finished.campaign.substructures()
    ]
    assert [doc.end_state.sha256 for doc in campaign.segments()] == [
        doc.end_state.sha256 for doc in finished.campaign.segments()
    ]
    clocks = {
        "wall_s",
        "label_seconds",
        "consolidation_s",
        "artifacts",
        "settings_key",
        "settings",
    }  # and the folders, kept with the settings
    assert state.model_dump(exclude=clocks) == finished.state.model_dump(exclude=clocks)


@pytest.mark.parametrize(
    "make_store",
    [
        memory,
        tiny.sqlite,
        # montydb leaves its file open
        pytest.param(monty, marks=pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")),
    ],
)
def test_bounded_calls_end_paused_and_reach_the_drivers_result(make_store: Any, finished: Any, tmp_path: Path) -> None:
    store, maker = make_store(tmp_path), tiny.maker(tmp_path, max_rounds=4)
    first = call(maker, store, tmp_path)
    assert (first.status, first.round) == ("paused", 4)
    assert "run the same flow again" in first.reason
    state, rounds = first, [first.round]
    while state.status == "paused":
        state = call(maker, store, tmp_path)
        rounds.append(state.round)
    assert state.status == "finished"
    assert rounds == [*range(4, finished.state.round, 4), finished.state.round]
    same_result(state, Campaign(store, "tiny"), finished)

    n_documents = store.count({"output.kind": {"$exists": True}})
    assert call(maker, store, tmp_path) == state  # a finished campaign is left as it is
    assert store.count({"output.kind": {"$exists": True}}) == n_documents


def test_the_driver_stopped_and_taken_up_reaches_the_same_result(finished: Any, tmp_path: Path) -> None:
    state, campaign = tiny.run(tmp_path, max_rounds=3)
    assert (state.status, state.round) == ("paused", 3)
    assert "the same command goes on" in state.reason
    assert campaign.state().status == "running"  # the store holds no pause: nothing in it depends on max_rounds
    state, campaign = tiny.run(tmp_path)
    same_result(state, campaign, finished)


def test_a_flow_refuses_bad_input_before_any_compute(tmp_path: Path) -> None:
    maker = tiny.maker(tmp_path, bootstrap={"force_field_settings": {"cutoff": 9.0}})
    with pytest.raises(InputError, match="the screen must see what the model sees"):
        maker.make(tiny.frame())
    broken, sound = tiny.frame(), tiny.maker(tmp_path)
    broken.positions[3, 1] = float("nan")
    with pytest.raises(InputError, match="positions must be finite"):
        sound.make(broken)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"seed": 2}, "seed = 1, now 2"), ({"n_walkers": 2}, "n_walkers = 1, now 2")],
)
def test_settings_that_contradict_the_stored_campaign_are_refused(
    changes: dict[str, Any], message: str, finished: Any
) -> None:
    with pytest.raises(InputError, match=message):
        tiny.run(finished.folder, **changes)
    with pytest.raises(InputError, match="has already run 60"):
        tiny.run(finished.folder, segment={"schedule": tiny.schedule(40, 0)})
