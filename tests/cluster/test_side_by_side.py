"""Several workers at one campaign of several walkers: side by side where they may, one where they must."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import write
from fireworks.utilities.fw_serializers import reconstitute_dates

from support import tiny
from workbench.cluster import PATIENCE_S, Cluster, wait_for

WALKERS: dict[str, Any] = {
    "n_walkers": 2,
    "segment": {"schedule": tiny.schedule(10, 20)},
    "evaluation": {"n_frames": 0},
    "threshold": 12.0,  # low enough that one frame has two centres, and two walkers trigger in one round
}
#: as configs said it before `queues`, which is still read
CATEGORIES: dict[str, Any] = {"segment": {"category": "gpu"}, "update": {"category": "gpu"}, "category": "cpu"}


def where(firework: Any) -> tuple[str, str]:
    """Round and walker of a label's job."""
    _, round_, centre = firework["name"].split()
    return round_, centre.split("-")[0]


def label_times(launchpad: Any) -> Iterator[tuple[tuple[str, str], float, float]]:
    """(round, walker), beginning and end of the first launch of every label."""
    for firework in launchpad.fireworks.find({"spec.stage": "label"}, {"fw_id": 1, "name": 1}):
        launch = launchpad.launches.find_one({"fw_id": firework["fw_id"]}, sort=[("launch_id", 1)])
        at = {entry["state"]: reconstitute_dates(entry["created_on"]).timestamp() for entry in launch["state_history"]}
        yield where(firework), at["RUNNING"], at["COMPLETED"]


def test_labels_run_side_by_side_and_jobs_declared_lost_by_mistake_are_done_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    expected, local = tiny.run(tmp_path / "local", **WALKERS)
    log = tmp_path / "labels.log"
    cluster.environment["SLOW_LABELS"] = str(log)
    labeller = {
        "calculator": "support.slow_emt.SlowEMT",
        "reference": tiny.REFERENCE,
        "kwargs": {"pause_s": 40.0, "spared": 40},
    }
    settings = tiny.settings(label={"labeller": labeller}, **WALKERS)
    for name, value in CATEGORIES.items():
        settings[name] = settings[name] | value if isinstance(value, dict) else value
    write(cluster.folder / "frame.extxyz", tiny.frame())
    config = cluster.write("config.yaml", json.loads(json.dumps(settings)) | {"structure": "frame.extxyz"})
    done = cluster.command("idealflow", "submit", str(config))
    assert done.returncode == 0, done.stderr
    launchpad, campaign = cluster.launchpad(), cluster.campaign("tiny")
    workers = [
        cluster.worker(name, "--nlaunches", "infinite", "--timeout", str(PATIENCE_S))
        for name in ("gpu", "cpu", "cpu", "gpu")
    ]

    seen: set[bool] = set()

    def ended() -> bool:
        """Whether the campaign is; labels wait for each other until the two ways of being side by side were seen."""
        at_work = [
            where(each) for each in launchpad.fireworks.find({"spec.stage": "label", "state": "RUNNING"}, {"name": 1})
        ]
        seen.update(one == other for one, other in combinations(at_work, 2))
        if len(seen) == 2:
            log.with_suffix(".seen").touch()
        state = campaign.state()
        return state is not None and state.status != "running"

    alarmed = set()
    for stage in ("label", "segment"):  # every such job at work is declared lost, though its worker lives
        running = {"spec.stage": stage, "state": "RUNNING"}
        assert wait_for(
            lambda running=running: launchpad.fireworks.find_one(running, {"_id": 1}), PATIENCE_S, every=0.05
        )
        alarmed |= set(launchpad.detect_lostruns(expiration_secs=-1, rerun=True, query={"spec.stage": stage})[1])
    assert wait_for(ended, PATIENCE_S), [worker.log.read_text()[-2000:] for worker in workers]

    state = campaign.state()
    assert state is not None
    assert (state.status, state.round) == (expected.status, expected.round)
    assert state.learner.force_field.sha256 == expected.learner.force_field.sha256
    mine, theirs = campaign.dataset(), local.dataset()
    assert [atoms.info["request_key"] for atoms in mine] == [atoms.info["request_key"] for atoms in theirs]
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(mine, theirs, strict=True))
    for update in campaign.updates():
        assert update.accepted == sorted(update.accepted)

    assert alarmed
    assert all(launchpad.launches.count_documents({"fw_id": fw_id}) > 1 for fw_id in alarmed)
    stages = {
        entry["fw_id"]: entry["spec"]["stage"] for entry in launchpad.fireworks.find({}, {"spec.stage": 1, "fw_id": 1})
    }
    for launch in launchpad.launches.find({}, {"fw_id": 1, "fworker.name": 1}):  # reruns and jobs that jobs added, too
        assert launch["fworker"]["name"] == (
            "gpu" if stages[launch["fw_id"]] in ("segment", "update", "consolidate") else "cpu"
        )
    computed = log.read_text().split()
    assert len(computed) == len(set(computed))
    times = list(label_times(launchpad))
    together = [
        (one, other)
        for (one, begin, end), (other, start, stop) in combinations(times, 2)
        if begin < stop and start < end
    ]
    assert any(one == other for one, other in together), "no two labels of one frame ran side by side"
    assert any(one[0] == other[0] and one[1] != other[1] for one, other in together), "no labels of two walkers did"
