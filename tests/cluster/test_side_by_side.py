"""Several workers at one campaign of several walkers: side by side where they may, one where they must."""

from __future__ import annotations

import json
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import write
from filelock import FileLock

from idealflow.workflow.jobs.keys import stage_uuid
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


def frame_of(key: str) -> list[str]:
    """Walker and step of a label."""
    return key.split("/")[1:3]


def test_labels_run_side_by_side_and_jobs_declared_lost_by_mistake_are_done_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    expected, local = tiny.run(tmp_path / "local", **WALKERS)
    updates = [update for update in local.updates() if update.accepted]
    together = [(one, other) for update in updates for one, other in combinations(map(frame_of, update.accepted), 2)]
    assert any(one == other for one, other in together), "no round has two labels of one frame"
    assert any(one[0] != other[0] for one, other in together), "no round has labels of two walkers"
    sizes = [len(update.accepted) for update in updates]  # labels of a round wait for each other

    log = tmp_path / "labels.log"
    cluster.environment["LABEL_LOG"] = str(log)
    labeller = {
        "calculator": "support.meeting_emt.MeetingEMT",
        "reference": tiny.REFERENCE,
        "kwargs": {"n_free": len(local.dataset()) - sum(sizes), "groups": sizes, "patience_s": PATIENCE_S},
    }
    settings = tiny.settings(label={"labeller": labeller}, **WALKERS)
    for name, value in CATEGORIES.items():
        settings[name] = settings[name] | value if isinstance(value, dict) else value
    write(cluster.folder / "frame.extxyz", tiny.frame())
    config = cluster.write("config.yaml", json.loads(json.dumps(settings)) | {"structure": "frame.extxyz"})
    done = cluster.command("idealflow", "submit", str(config))
    assert done.returncode == 0, done.stderr
    launchpad, campaign = cluster.launchpad(), cluster.campaign("tiny")
    locks = ExitStack()  # segments of the second round do not end before these are let go
    work = cluster.folder / "work"
    work.mkdir()
    for walker in range(WALKERS["n_walkers"]):
        locks.enter_context(FileLock(work / f"{stage_uuid('tiny', 2, 'segment', walker)}.lock"))
    n_cpu = 2 * max(sizes)  # room for the labels of a round, and for as many jobs declared lost
    workers = [
        cluster.worker(name, "--nlaunches", "infinite", "--timeout", str(PATIENCE_S))
        for name in ("gpu", *["cpu"] * n_cpu, "gpu")
    ]

    def ended() -> bool:
        state = campaign.state()
        return state is not None and state.status != "running"

    alarmed = set()
    # every such job at work is declared lost, though its worker lives; none ends meanwhile
    for stage, go_on in (("label", log.with_suffix(".go").touch), ("segment", locks.close)):
        running = {"spec.stage": stage, "state": "RUNNING"}
        assert wait_for(
            lambda running=running: launchpad.fireworks.find_one(running, {"_id": 1}), PATIENCE_S, every=0.05
        )
        alarmed |= set(launchpad.detect_lostruns(expiration_secs=-1, rerun=True, query={"spec.stage": stage})[1])
        go_on()
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
