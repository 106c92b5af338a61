"""What a user sees of a running campaign: one line that fits, a log of events and causes, and a status that names failures."""

from __future__ import annotations

import io
import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from idealflow.cli.afterwards import Afterwards
from idealflow.cli.display import Display, fitted
from idealflow.cli.event_log import EventLog, lines_of_round
from idealflow.cli.starting import starting
from idealflow.provenance import Campaign, sample_campaign
from idealflow.report import summarise, summary_text
from idealflow.schemas import CampaignState
from idealflow.workflow.folder.directory import CampaignDirectory
from idealflow.workflow.jobs.progress import Progress

CAUSE = "VASP failed: there is no vasprun.xml"


@dataclass
class Failing:
    """Stands in for a campaign of which one label failed: its stored fields, as `outputs` gives them."""

    kinds: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {
            "substructure": [
                {"request_key": "li/0/40/7/0", "state": "failed", "cause": CAUSE, "n_atoms": 92, "method": "VASP PBE",
                 "reused_from": None, "seconds": 31.5, "round": 2},
            ],
            "crop": [
                {"walker": 0, "step": 40, "atom": 9, "centre_uncertainty": 25.0, "failure": "no crop: too large", "seconds": 0.4},
            ],
        }
    )  # fmt: skip

    def outputs(self, kind: str, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return self.kinds.get(kind, [])


def test_the_log_has_a_line_for_everything_a_round_did() -> None:
    campaign = sample_campaign()
    lines = [line for number in range(8) for line in lines_of_round(campaign, number)]
    kinds = [line.partition(":")[0] for line in lines]
    assert kinds.count("label") == len(campaign.labels()) + len(campaign.substructures())
    assert kinds.count("segment") == len(campaign.segments())
    assert kinds.count("update") == len(campaign.updates())
    assert kinds.count("crop") == kinds.count("relax") == 5
    assert kinds.count("bootstrap") == kinds.count("evaluation") == 1
    assert any("force error of the new labels" in line for line in lines)
    assert all(line.endswith(" s)") for line in lines)


def test_failures_are_logged_with_their_causes() -> None:
    lines = list(lines_of_round(Failing(), 2))
    assert f"label: li/0/40/7/0, 92 atoms by VASP PBE, failed: {CAUSE} (31.5 s)" in lines
    assert "crop: walker 0 step 40 atom 9, uncertainty 25.00, failed: no crop: too large (0.4 s)" in lines


def test_later_runs_go_on_in_the_same_log(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    for text in ("one\nof two lines", "two"):
        EventLog(path, sample_campaign())(Progress("driver", message=text))
    EventLog(path, sample_campaign())(Progress("segment", step=10))  # for the display alone
    assert [line.split(maxsplit=1)[1] for line in path.read_text().splitlines()] == [
        "driver: one of two lines",
        "driver: two",
    ]


@pytest.mark.parametrize("columns", [80, 60, 40, 20])
def test_the_live_line_fits(columns: int) -> None:
    parts = [("step 123456/1234567", 9), ("1200 K", 2), ("uncertainty 123.45 of 19.90", 4), ("1234 labels", 6),
             ("round: 12 of 48 labels, 2 under way", 8), ("12 failed", 7), ("model 321", 3), ("", 5),
             ("1:02:03 left", 5)]  # fmt: skip
    line = fitted(parts, columns)
    assert len(line) <= columns
    assert line.startswith("step 123456/1234567")
    assert fitted(parts, 400).count(" | ") == len(parts) - 2


def test_labels_of_the_bootstrap_are_counted_while_they_are_made() -> None:
    stream = io.StringIO()
    state = sample_campaign().state()
    with Display(state, stream) as display:
        display(Progress("labels", done=0, total=48))
        display(Progress("labels", done=7, total=48))
    assert "round: 7 of 48 labels" in stream.getvalue().splitlines()[-1]
    assert "s each" in stream.getvalue().splitlines()[-1]


def shown(*events: Progress, state: CampaignState | None = None, afterwards: float | None = 0.0) -> str:
    """The line after some events, with a clock that goes on by ten seconds at every look."""
    stream = io.StringIO()
    with Display(state or under_way(0), stream, afterwards=lambda _: afterwards) as display:
        for event in events:
            display(event)
    return stream.getvalue().splitlines()[-1]


def under_way(step: int, **changes: Any) -> CampaignState:
    """A state in which the walker of the sample campaign is at a step of its 60."""
    state = sample_campaign().state()
    assert state is not None
    walkers = [walker.model_copy(update={"step": step, "finished": step == 60}) for walker in state.walkers]
    return state.model_copy(update={"walkers": walkers, "status": "running"} | changes)


def seconds_left(line: str) -> int:
    """The time at the end of a line."""
    return sum(60**k * int(part) for k, part in enumerate(reversed(re.findall(r"\d+", line.rpartition(" | ")[2]))))


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = itertools.count(0.0, 10.0)
    monkeypatch.setattr("idealflow.cli.display.time.monotonic", lambda: next(looks))


@pytest.mark.usefixtures("slow_clock")
def test_the_time_left_is_known_from_the_first_labels_on() -> None:
    first = under_way(0, learner=None)
    line = shown(*(Progress("labels", done=done, total=8) for done in (1, 2)), state=first)
    assert line.endswith("left of the labels")
    assert "bootstrap: 2 of 8 labels | " in line
    assert "s each" in line
    line = shown(*(Progress("bootstrap", step=step, n_steps=60, loss=0.0312) for step in (1, 2)), state=first)
    assert line.endswith("left of the training")
    assert "bootstrap 2/60, loss 0.031" in line


@pytest.mark.usefixtures("slow_clock")
def test_the_time_left_counts_labels_and_training_too() -> None:
    moved = [Progress("segment", walker=0, step=step, n_steps=60) for step in (10, 20)]
    alone, later = shown(*moved), shown(*moved, *(Progress("labels", done=done, total=3) for done in (1, 2)))
    assert alone.endswith(" left")
    assert later.endswith(" left")
    assert seconds_left(later) > seconds_left(alone) > 0


@pytest.mark.usefixtures("slow_clock")
def test_the_time_left_counts_what_comes_after_the_schedule() -> None:
    moved = [Progress("segment", walker=0, step=step, n_steps=60) for step in (10, 20)]
    line = shown(*moved, afterwards=3600.0)
    assert 3600 < seconds_left(line) < 7200
    assert 0 < seconds_left(shown(*moved)) < 3600
    assert shown(*moved, afterwards=None).endswith(" left but for the evaluation")
    # the labels of whole frames have a pace of their own, once two have ended
    evaluating = under_way(60, evaluated=False, n_unconsolidated=0)
    assert shown(state=evaluating, afterwards=90.0).endswith("0:01:30 left")
    line = shown(*(Progress("labels", done=done, total=4) for done in (1, 2)), state=evaluating, afterwards=9e5)
    assert "evaluation: 2 of 4 labels" in line
    assert 0 < seconds_left(line) < 3600


def test_what_comes_after_the_schedule_takes_what_the_campaign_has_measured() -> None:
    labels = [{"n_atoms": n, "seconds": 0.01 * n**2} for n in (10, 20, 40, 80)]
    again = {"n_atoms": 80, "seconds": 1e-3, "reused_from": "another"}  # took no time
    measured = Failing(kinds={"label": [*labels, again], "consolidation": [{"seconds": 7.0, "steps": 3}]})
    due = under_way(60, evaluated=False, evaluation_frames=5)
    each = 0.01 * due.n_atoms**2
    assert Afterwards(measured).seconds(due) == pytest.approx(5 * each)
    assert Afterwards(measured, side_by_side=2).seconds(due) == pytest.approx(3 * each)
    assert Afterwards(Failing(kinds={})).seconds(due) is None  # there is no label
    # before its end there is a last consolidation to come, too, of three times the steps
    before = under_way(40, evaluated=False, evaluation_frames=5, consolidate_every=5)
    assert Afterwards(measured).seconds(before) == pytest.approx(5 * each + 21.0)
    assert Afterwards(measured).seconds(under_way(60)) == 0.0


@pytest.mark.usefixtures("slow_clock")
def test_the_line_tells_what_is_under_way() -> None:
    running = {"crop": 2, "relax": 1, "label": 3, "dispatch": 1}
    line = shown(Progress("labels", done=1, total=5), Progress("jobs", running=running), state=under_way(20))
    assert "round: 1 of 5 labels | 3 under way" in line
    assert "2 crops, relaxation" in line
    line = shown(Progress("jobs", running={"bootstrap-label": 2}), state=under_way(0, learner=None))
    assert "bootstrap: 0 of 2 labels | 2 under way" in line
    assert "update" in shown(Progress("jobs", running={"update": 1}), state=under_way(20))


@pytest.mark.usefixtures("slow_clock")
def test_no_time_is_told_for_a_label_that_was_there_already() -> None:
    assert "each" not in shown(Progress("labels", done=1, total=8))


def test_status_names_failed_labels_and_says_what_the_threshold_means() -> None:
    summary = summarise(sample_campaign())
    assert summary["failed_labels"] == []
    text = summary_text(summary)
    assert (
        f"threshold {summary['uncertainty_threshold']:.2f}: an atom whose uncertainty is higher asks for a label"
        in text
    )
    failed = [{"request_key": f"li/0/40/{i}/0", "cause": CAUSE} for i in range(7)]
    text = summary_text(summary | {"failed_labels": failed, "n_failed_labels": 7, "failure_causes": {CAUSE: 7}})
    assert f"    li/0/40/0/0: {CAUSE}\n" in text
    assert "    and 2 more: `status --json` names all\n" in text


def test_status_counts_labels_of_cells_without_their_surface() -> None:
    campaign = sample_campaign()
    waived = campaign.substructures(state="accepted")[0]
    directory = CampaignDirectory(campaign.folder.path)
    store = directory.job_store()
    found = list(store.query({"uuid": waived.crop_uuid}))
    for document in found:
        document["output"]["candidates"][0]["surface_rule_waived"] = 1.0
    last = max(store.query({"output.kind": "state"}), key=lambda entry: entry["output"]["round"])
    change = {"round": 2, "key": "crop.waive_surface_rule", "before": "False", "after": "True"}
    last["output"]["changes"] = [change]
    store.update([*found, last], key=["uuid", "index"])
    summary = summarise(Campaign(store, campaign.name, directory))
    assert summary["n_surface_rule_waived"] == 1
    assert "  1 label is of a cell without the empty space that its centre looks into" in summary_text(summary)
    assert summarise(sample_campaign())["n_surface_rule_waived"] == 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("out", "quiet", "said"), [(Terminal, False, True), (Terminal, True, False), (io.StringIO, False, False)]
)
def test_a_terminal_says_that_a_command_starts_and_a_file_does_not(
    monkeypatch: pytest.MonkeyPatch, out: type[io.StringIO], quiet: bool, said: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stdout = out()
    monkeypatch.setattr("sys.stdout", stdout)
    with starting(quiet):
        pass
    assert ("starting" in stdout.getvalue()) is said
    assert said or stdout.getvalue() == ""
