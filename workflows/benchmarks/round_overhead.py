"""What a round costs besides its science: the machinery of `idealflow run`, and of FireWorks rockets.

    python workflows/benchmarks/round_overhead.py [--ways local rockets] [--steps 600]

The campaign of `workflows/checks/kill_campaign.py` (Cu, 107 atoms, ASE's EMT standing in for DFT), once by `idealflow run` and
once by one FireWorks worker against a server over the wire: mongo-java-server, standing in for MongoDB, unless
``MONGODB_URI`` names a real one. A round lasts from the commit of the state before it to the commit of its own; what its
stages report that they spent on MD, embedding (crop search and relaxation), label and training is taken off. What is left
is counted as overhead: screening, documents, artifacts, the queue, the server. The start of the processes is not in it. Medians
and 90 % marks over the rounds, for rounds with a label and for those without, and the mean load of the machine meanwhile.
"""

from __future__ import annotations

import argparse
import copy
import datetime as dt
import os
import sys
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jobflow import JobStore

from idealflow.workflow.folder.directory import CampaignDirectory
from workbench.cluster import running_server, wait_for
from workbench.threads import one_thread
from workbench.trials import SETTINGS, Trial, local_run

#: kinds of stage documents whose seconds are science
SCIENCE = ("segment", "crop", "relaxation", "substructure", "update")
GOAL_S = 2.0


def overheads(store: JobStore) -> dict[str, list[float]]:
    """Seconds of each round that no science took, by whether the round labelled; from what is stored."""
    spent: dict[int, float] = defaultdict(float)
    labelled: set[int] = set()
    committed: dict[int, dt.datetime] = {}
    names = ["output.kind", "output.round", "output.seconds", "completed_at"]
    for entry in store.query({"output.kind": {"$in": [*SCIENCE, "state"]}}, properties=names):
        output = entry["output"]
        if output["kind"] == "state":  # its number is that of the round it opens
            committed[output["round"] - 1] = _moment(entry["completed_at"])
            continue
        spent[output["round"]] += output["seconds"]
        if output["kind"] == "substructure":
            labelled.add(output["round"])
    found: dict[str, list[float]] = {"with a label": [], "without": []}
    for before, after in pairwise(sorted(committed)):
        if after in spent and after == before + 1:
            seconds = (committed[after] - committed[before]).total_seconds() - spent[after]
            found["with a label" if after in labelled else "without"].append(seconds)
    return found


def _moment(stored: Any) -> dt.datetime:
    return dt.datetime.fromisoformat(stored) if isinstance(stored, str) else stored


def settings(steps: int) -> dict[str, Any]:
    """The campaign, its labels without their pause, its ramp of so many steps in all."""
    made: dict[str, Any] = copy.deepcopy(SETTINGS)
    made["label"]["labeller"]["kwargs"] = {"pause_s": 0.0}
    hold, ramp = made["segment"]["schedule"]
    hold["steps"], ramp["steps"] = steps // 3, steps - steps // 3
    return made


def report(name: str, store: JobStore, loads: list[float]) -> float:
    """Print a way's figures; the median over all its rounds."""
    found = overheads(store)
    everything = [each for rounds in found.values() for each in rounds]
    for kind, rounds in (*found.items(), ("all", everything)):
        if rounds:
            print(
                f"{name:10s} {kind:14s} {len(rounds):6d} {np.median(rounds):9.2f} {np.percentile(rounds, 90):9.2f} "
                f"{np.mean(loads):8.1f}",
                flush=True,
            )
    return float(np.median(everything))


def main() -> int:
    """Command line; exit status 0 if every median is within the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", choices=("local", "rockets"), default=["local", "rockets"])
    parser.add_argument("--steps", type=int, default=600, help="MD steps of the schedule")
    arguments = parser.parse_args()
    one_thread()
    print(f"server: {os.environ.get('MONGODB_URI', 'mongo-java-server with H2, standing in for MongoDB')}")
    print(f"{'way':10s} {'rounds':14s} {'number':>6s} {'median s':>9s} {'90 % s':>9s} {'load':>8s}", flush=True)
    medians: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if "local" in arguments.ways:
            loads = [os.getloadavg()[0]]
            out = local_run(folder / "local", settings(arguments.steps))
            loads.append(os.getloadavg()[0])
            store = CampaignDirectory(out).job_store()
            medians["local"] = report("local", store, loads)
            store.close()
        if "rockets" in arguments.ways:
            with running_server(folder) as uri:
                trial = Trial(folder / "trial", uri, settings(arguments.steps))
                loads = [os.getloadavg()[0]]
                began = time.monotonic()
                worker = trial.worker()
                if not wait_for(lambda: trial.ended() or worker.process.poll() is not None, 3600, every=2.0):
                    raise SystemExit(f"the campaign did not end in {time.monotonic() - began:.0f} s; see {worker.log}")
                if not trial.ended():
                    raise SystemExit(worker.log.read_text()[-2000:])
                loads.append(os.getloadavg()[0])
                medians["rockets"] = report("rockets", trial.store, loads)
                trial.cluster.end()
    return 0 if all(value <= GOAL_S for value in medians.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
