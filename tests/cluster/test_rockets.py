"""Campaigns on FireWorks with real workers and a server over the wire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import write

from support import tiny
from workbench.cluster import PATIENCE_S, Cluster, wait_for

QUEUES: dict[str, Any] = {"queues": {"default": "cpu", "segment": "gpu", "update": "gpu"}}
GPU_STAGES = {"segment", "update", "consolidate"}


def config(cluster: Cluster, **changes: Any) -> str:
    """Config file of the tiny campaign."""
    write(cluster.folder / "frame.extxyz", tiny.frame())
    settings = tiny.settings(**changes) | {"structure": "frame.extxyz"}
    return str(cluster.write("config.yaml", json.loads(json.dumps(settings))))


def submit(cluster: Cluster, **changes: Any) -> str:
    """Submit the tiny campaign; what the program says."""
    done = cluster.command("idealflow", "submit", config(cluster, **changes))
    assert done.returncode == 0, done.stderr
    return done.stdout


def status(cluster: Cluster) -> dict[str, Any]:
    """What `idealflow status` says of the campaign."""
    done = cluster.command("idealflow", "status", "tiny", "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_two_categories_of_workers_do_what_the_local_driver_does(cluster: Cluster, finished: Any) -> None:
    assert "start it with" in submit(cluster, **QUEUES)
    assert "on the launchpad" in submit(cluster, **QUEUES)  # a second time: nothing is added
    workers = [cluster.worker(name, "--nlaunches", "infinite", "--timeout", str(PATIENCE_S)) for name in ("cpu", "gpu")]
    campaign = cluster.campaign("tiny")

    def ended() -> bool:
        state = campaign.state()
        return state is not None and state.status != "running"

    assert wait_for(ended, PATIENCE_S), [worker.log.read_text()[-2000:] for worker in workers]

    state = campaign.state()
    assert state is not None
    assert (state.status, state.round) == (finished.state.status, finished.state.round)
    assert state.learner.force_field.sha256 == finished.state.learner.force_field.sha256
    mine, theirs = campaign.dataset(), finished.campaign.dataset()
    assert [atoms.info["request_key"] for atoms in mine] == [atoms.info["request_key"] for atoms in theirs]
    for ours, local in zip(mine, theirs, strict=True):
        assert np.array_equal(ours.positions, local.positions)
        assert np.array_equal(ours.get_forces(), local.get_forces())

    launchpad = cluster.launchpad()
    assert launchpad.workflows.count_documents({}) == state.round + 1  # the opening, and one for each round
    where = {
        (entry["fw_id"]): entry["fworker"]["name"] for entry in launchpad.launches.find({}, {"fw_id": 1, "fworker": 1})
    }
    for entry in launchpad.fireworks.find({}, {"fw_id": 1, "spec.stage": 1}):
        assert where[entry["fw_id"]] == ("gpu" if entry["spec"]["stage"] in GPU_STAGES else "cpu"), entry

    assert status(cluster)["status"] == "finished"
    exported = cluster.command("idealflow", "export", "tiny", "all.extxyz")
    assert exported.returncode == 0, exported.stderr
    reported = cluster.command("idealflow", "report", "tiny")
    assert reported.returncode == 0, reported.stderr
    assert Path(cluster.folder / "tiny" / "report.html").exists()


def test_commands_without_a_server_side_say_what_is_missing(cluster: Cluster) -> None:
    done = cluster.command("idealflow", "pause", "nothing")
    assert done.returncode == 2
    assert "holds no campaign 'nothing'" in done.stderr
    done = cluster.command("idealflow", "status", "nothing")
    assert done.returncode == 2
    assert "none named 'nothing'" in done.stderr
    cluster.environment.pop("JOBFLOW_CONFIG_FILE")
    done = cluster.command("idealflow", "submit", config(cluster))
    assert done.returncode == 2
    assert "MemoryStore, which no two workers share" in done.stderr
