"""A small campaign to be killed or timed: by `idealflow run`, or on a cluster; what it computed, and what it left behind.

Cu; ASE's EMT stands in for DFT.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from fireworks.utilities.fw_serializers import reconstitute_dates

from idealflow import Campaign
from idealflow.workflow.folder.directory import CampaignDirectory
from workbench.cluster import Cluster, Worker
from workbench.counting_emt import fingerprint

SETTINGS: dict[str, Any] = {
    "campaign": "kills",
    "seed": 7,
    "structure": {"element": "Cu", "crystal": "fcc", "a": 3.62, "cubic": True, "repeat": [3, 3, 3], "vacancies": 1},
    "bootstrap": {
        "seeds": [{"element": "Cu", "crystal": "fcc", "a": 3.62, "cubic": True, "repeat": [2, 2, 2]}],
        "n_structures": 8,
        "rattle": [0.02, 0.08],
        "strain": 0.02,
        "soap": {"r_cut": 3.0, "n_max": 3, "l_max": 3, "sigma": 0.3},
        "force_field_settings": {"cutoff": 4.0, "hidden": [8]},
        "fit_steps": 200,
    },
    "segment": {
        "sampler": {"name": "langevin", "timestep": 2.0, "friction": 0.02},
        "schedule": [
            {"kind": "hold", "temperature": 300, "steps": 200},
            {"kind": "ramp", "temperature": 300, "to": 2400, "steps": 400},
        ],
        "segment_steps": 50,
        "check_interval": 5,
    },
    "screen": {"max_centres": 2},
    "crop": {"n_candidates": 20, "max_atoms": 90},
    "relax": {"max_steps": 20},
    "label": {
        "labeller": {
            "calculator": "workbench.counting_emt.CountingEMT",
            "kwargs": {"pause_s": 0.2},
            "reference": "EMT (stands in for DFT)",
        }
    },
    "update": {"n_steps": 20, "n_replay": 8, "n_judges": 4},
    "evaluation": {"n_frames": 3},
}


def merged(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Settings with changes, stages merged."""
    return settings | {
        key: settings.get(key, {}) | value if isinstance(value, dict) else value for key, value in changes.items()
    }


def start(config: Path, out: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start ``idealflow run`` as a user would."""
    environment = os.environ | {"COUNTED_LABELS": str(log), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "idealflow.cli", "run", str(config), "--out", str(out), "--quiet"]
    with (out.parent / f"{out.name}.output").open("ab") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)


def computed(log: Path) -> list[str]:
    """Fingerprints of all structures that the labeller computed, in order."""
    return log.read_text().split() if log.exists() else []


def documents(out: Path) -> dict[str, dict[str, Any]]:
    """Every stage document of the campaign by kind and derived uuid, without what a clock or the folder's name decides."""
    directory = CampaignDirectory(out)
    if not directory.exists():
        return {}
    store = directory.job_store()
    found = stage_documents(store)
    store.close()
    return found


def stage_documents(store: Any) -> dict[str, dict[str, Any]]:
    """Same of a job store."""
    found: dict[str, dict[str, Any]] = {}
    for entry in store.query({"output.kind": {"$exists": True}}, properties=["uuid", "index", "output"], load=True):
        output = _timeless(entry["output"])
        found[f"{output['kind']} {entry['uuid']} {entry['index']}"] = output
    return found


def _timeless(output: Any) -> Any:
    places = ("artifacts", "settings")  # the file of settings names the folder
    dropped = (
        "seconds",
        "label_seconds",
        "core_seconds",
        "wall_s",
        "consolidation_s",
        "t_entire_s",
        "@version",
        *places,
    )
    if isinstance(output, dict):
        return {key: _timeless(value) for key, value in output.items() if key not in dropped}
    return [_timeless(value) for value in output] if isinstance(output, list) else output


def differing(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Keys of ``before`` that are missing from ``after`` or differ there."""
    text = json.dumps
    return [
        key
        for key, value in before.items()
        if key not in after or text(value, sort_keys=True) != text(after[key], sort_keys=True)
    ]


def label_prints(found: dict[str, dict[str, Any]]) -> set[str]:
    """Fingerprints of all structures with a committed label."""
    structures = [
        doc["structure"]
        for doc in found.values()
        if doc["kind"] in ("label", "substructure") and doc["state"] == "accepted" and doc["structure"]
    ]
    return {fingerprint(each["numbers"], each["positions"], each["cell"]) for each in structures}


def local_run(folder: Path, settings: dict[str, Any]) -> Path:
    """The same campaign by `idealflow run`, left alone."""
    folder.mkdir(parents=True)
    config = folder / "campaign.yaml"
    config.write_text(yaml.safe_dump(settings))
    if start(config, folder / "out", folder / "labels.log").wait():
        raise SystemExit(f"the local campaign failed; see {folder}")
    return folder / "out"


class Trial:
    """One campaign on a cluster, and the local one it is compared with."""

    def __init__(self, folder: Path, uri: str, settings: dict[str, Any]) -> None:
        folder.mkdir(parents=True)
        self.log = folder / "labels.log"
        self.cluster = Cluster(folder / "cluster", uri, lock_expires_s=5)
        self.cluster.environment |= {
            "COUNTED_LABELS": str(self.log),
            "DOOM_LOG": str(folder / "steps.log"),
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
        }
        self.steps = folder / "steps.log"
        self.name = settings["campaign"]
        self.recovered: list[str] = []
        config = self.cluster.write("config.yaml", settings)
        done = self.cluster.command("idealflow", "submit", str(config), "--launchpad", str(self.cluster.launchpad_file))
        if done.returncode:
            raise SystemExit(done.stderr)
        self.launchpad = self.cluster.launchpad()
        self.store = self.cluster.job_store()
        self.campaign = Campaign(self.store, self.name)

    def worker(self, category: str | None = None, doom: str = "") -> Worker:
        """A worker, with a bomb if asked."""
        self.cluster.environment["DOOM"] = doom
        program = (sys.executable, "-m", "workbench.doomed_worker")
        return self.cluster.worker(category, "--nlaunches", "infinite", "--timeout", "900", program=program)

    def ended(self) -> bool:
        """Whether the campaign's state says so."""
        state = self.campaign.state()
        return state is not None and state.status != "running"

    def fizzled(self) -> list[int]:
        """Fireworks that fizzled, which without kills none should."""
        return list(self.launchpad.get_fw_ids({"state": "FIZZLED"}))

    def recover(self) -> None:
        """What the how-to tells the user to do."""
        file = str(self.cluster.launchpad_file)
        done = self.cluster.command("idealflow", "recover", self.name, "--lost-after", "0", "--launchpad", file)
        if done.returncode:
            raise SystemExit(done.stderr)
        self.recovered.append(done.stdout.strip().partition(": ")[2])

    def completed_at(self, fw_id: int) -> float | None:
        """When a firework's last launch completed."""
        launches = self.launchpad.launches.find({"fw_id": fw_id, "state": "COMPLETED"})
        times = [
            reconstitute_dates(entry["created_on"]).timestamp()
            for launch in launches
            for entry in launch["state_history"]
            if entry["state"] == "COMPLETED"
        ]
        return max(times, default=None)

    def steps_lost(self) -> int:
        """MD steps that were run more than once."""
        rows = [line.split() for line in self.steps.read_text().splitlines() if " step " in line]
        done = Counter((int(row[3]), int(row[4])) for row in rows)
        numbers = sorted({step for _, step in done})
        spacing = median(b - a for a, b in pairwise(numbers))
        return int(spacing * sum(count - 1 for count in done.values()))
