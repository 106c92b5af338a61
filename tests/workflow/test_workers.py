"""A campaign by several workers is the campaign by one, to the bit; a budget pauses it; neither is a setting of its results."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from jobflow import JobStore

from idealflow.cli.display import Display
from idealflow.errors import InputError
from idealflow.provenance import sample_campaign
from idealflow.schemas import CampaignState
from idealflow.workflow import run_campaign
from idealflow.workflow.campaign.opening import science_key
from idealflow.workflow.campaign.record import settings_of
from idealflow.workflow.config.load import maker_from_settings
from idealflow.workflow.drivers.fireworks import submit_campaign
from idealflow.workflow.drivers.machine import cores_at_hand, default_workers, memory_at_hand_gb
from idealflow.workflow.jobs.progress import Progress, listening
from support import program, tiny

CLOCKS = (
    "seconds",
    "label_seconds",
    "core_seconds",
    "wall_s",
    "consolidation_s",
    "t_entire_s",
    "artifacts",
    "settings",
    "@version",
)
TWO_WALKERS: dict[str, Any] = {
    "n_walkers": 2,
    "segment": {"schedule": tiny.schedule(10, 30)},
    "evaluation": {"n_frames": 2},
}


def timeless(output: Any) -> Any:
    """A stored output without clocks and folders."""
    if isinstance(output, dict):
        return {key: timeless(value) for key, value in output.items() if key not in CLOCKS}
    return [timeless(value) for value in output] if isinstance(output, list) else output


def documents(store: JobStore) -> dict[str, Any]:
    """Every output of a campaign's jobs: segments with the hashes of trajectories and states, labels, updates with models."""
    entries = store.query({}, properties=["uuid", "index", "output"], load=True)
    return {f"{entry['uuid']} {entry['index']}": timeless(entry["output"]) for entry in entries}


def campaign(folder: Path, marks: Path, workers: int) -> tuple[CampaignState, dict[str, Any], list[Progress]]:
    """Run the campaign of two walkers; its last state, all documents, and what was reported."""
    label = {"labeller": {"calculator": "support.deadly_emt.DeadlyEMT", "kwargs": {"marks": str(marks)}}}
    store, maker, events = tiny.sqlite(folder), tiny.maker(folder, label=label, **TWO_WALKERS), []
    with listening(events.append):
        state = run_campaign(maker, tiny.frame(), store, workers=workers, root_dir=folder)
    return state, documents(store), events


def test_three_workers_of_which_some_are_killed_reach_what_one_process_does(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    alone, expected, _ = campaign(tmp_path / "alone", marks, 1)
    assert alone.status == "finished"
    assert alone.n_substructures > 2
    sizes = {len(doc["structure"]["numbers"]) for doc in expected.values() if (doc or {}).get("kind") == "substructure"}
    for mark in ("32-a", f"{min(sizes)}-b"):  # one label of the bootstrap, and one of a round
        (marks / mark).touch()
    state, found, events = campaign(tmp_path / "workers", marks, 3)
    assert not list(marks.iterdir())
    assert found.keys() == expected.keys()
    assert [key for key in expected if found[key] != expected[key]] == []
    assert state.learner == alone.learner
    assert [walker.md_state for walker in state.walkers] == [walker.md_state for walker in alone.walkers]
    assert not list((tmp_path / "workers" / "work").rglob("*.lock"))
    # what stages in workers report is passed on
    assert {event.walker for event in events if event.stage == "segment"} == {0, 1}
    assert [(event.done, event.total) for event in events if event.stage == "labels"][:8] == [
        (n, 8) for n in range(1, 9)
    ]


def test_a_budget_pauses_the_campaign_and_a_larger_one_goes_on(
    config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, small = tmp_path / "out", {"segment": {"schedule": tiny.schedule(5, 0)}, "evaluation": {"n_frames": 0}}
    assert program.run(config(budget={"label_core_hours": 1e-12}, **small), out) == 0
    told = capsys.readouterr().out
    assert "paused" in told
    assert "budget.label_core_hours is 1e-12; raise it, and the same command goes on from here" in told
    assert program.run(config(budget={"label_core_hours": 100.0}, **small), out) == 0
    told = capsys.readouterr()
    assert "finished" in told.out
    assert told.err == ""  # a budget is no setting that changes results


def test_neither_workers_nor_budget_nor_room_are_settings_of_the_results() -> None:
    plain = maker_from_settings(tiny.settings())
    other = maker_from_settings(
        tiny.settings(workers=7, budget={"label_core_hours": 5}, label={"cores": 16, "memory_gb": 8.0})
    )
    assert (other.workers, other.label.n_cores, other.label.memory_gb) == (7, 16, 8.0)
    assert science_key(other) == science_key(plain)
    assert settings_of(other) == settings_of(plain)
    assert other.label.key == plain.label.key
    assert plain.label.n_cores == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": 0}, "workers: input should be greater than or equal to 1, got 0"),
        ({"budget": {"label_hours": 3}}, "budget: input should be 'label_core_hours', got 'label_hours'"),
        ({"budget": {"label_core_hours": 0}}, "budget: input should be greater than 0, got 0"),
        ({"label": {"memory_gb": -1}}, "label.memory_gb: input should be greater than 0, got -1"),
    ],
)
def test_impossible_values_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        maker_from_settings(tiny.settings(**changes))


def test_a_budget_that_nobody_would_keep_is_refused(tmp_path: Path) -> None:
    maker = tiny.maker(tmp_path, budget={"label_core_hours": 2.0})
    for keep in (maker.make, lambda atoms: submit_campaign(maker, atoms)):
        with pytest.raises(InputError, match="label_core_hours = 2 is kept by `idealflow run` and run_campaign"):
            keep(tiny.frame())


def test_the_site_says_how_many_cores_and_how_much_memory_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDEALFLOW_CORES", "12")
    monkeypatch.setenv("IDEALFLOW_MEMORY_GB", "5.5")
    monkeypatch.setenv("IDEALFLOW_THREADS", "5")
    assert (cores_at_hand(), memory_at_hand_gb(), default_workers()) == (12, 5.5, 2)
    monkeypatch.setenv("IDEALFLOW_THREADS", "13")
    assert default_workers() == 1


def test_the_display_shows_how_many_labels_of_the_round_are_done() -> None:
    stream, state = io.StringIO(), sample_campaign().state()
    with Display(state, stream) as display:
        display(Progress("labels", done=3, total=8))
    assert "round: 3 of 8 labels" in stream.getvalue().splitlines()[-1]
    with Display(state, stream) as display:
        display(Progress("labels", done=8, total=8))
    assert "round: " not in stream.getvalue().splitlines()[-1]
