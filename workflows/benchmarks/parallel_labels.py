"""Wall time of a round's labels by 1, 2, 4, 8, 16 workers: how well `idealflow run` and FireWorks' rockets keep workers busy.

    python workflows/benchmarks/parallel_labels.py --by pool rockets --out workflows/benchmarks/results/parallel_labels.json

A label sleeps for three seconds, as this machine would while a plane-wave code works on other cores, and is then computed by
ASE's EMT, which stands in for DFT. ``pool`` is the driver of `idealflow run`, ``rockets`` are processes of `rlaunch rapidfire`
on a server (mongo-java-server, standing in for MongoDB, unless ``MONGODB_URI`` names a real one). Before the clock starts every
worker makes a label, so that all of them and their calculators' processes are there; how long that took is printed, too. The
efficiency is the time that labels took, summed, over workers times wall time: the median of ``--turns`` rounds by the same
workers, beside that of each and the machine's load. Rows of other numbers of workers stay in the file.

    python workflows/benchmarks/parallel_labels.py --by gpaw --workers 1 2 --labels 60

asks GPAW (`make gpaw`) for the labels, by the driver of `idealflow run`. They need a core each.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from jobflow import Flow, Job, JobStore
from jobflow.managers.fireworks import flow_to_workflow

from idealflow import AseLabeller, LabelMaker
from idealflow.provenance import INDEXED_FIELDS
from idealflow.schemas import LabelledDoc, StageContext
from idealflow.storage import SQLiteStore
from idealflow.workflow.drivers.machine import Share, memory_at_hand_gb
from idealflow.workflow.drivers.pool import Pool
from idealflow.workflow.drivers.run_flow import FlowRunner
from idealflow.workflow.frames.encode import to_stored
from idealflow.workflow.jobs.stage import named
from workbench.cluster import PATIENCE_S, Cluster, running_server, wait_for
from workbench.keeping import add_out, keep

WORKFLOWS = Path(__file__).parents[1]
GPAW = {
    "mode": {"name": "pw", "ecut": 300},
    "xc": "PBE",
    "kpts": {"size": [2, 2, 2]},
    "nbands": "160%",
    "occupations": {"name": "fermi-dirac", "width": 0.1},
    "txt": None,
}


def cells(n: int, seed: int, element: str) -> list[Atoms]:
    """Rattled cells of four or two atoms, all different."""
    made = []
    for i in range(n):
        atoms = bulk(element, cubic=True)
        atoms.rattle(0.05, seed=1000 * seed + i)
        made.append(atoms)
    return made


def label_jobs(maker: LabelMaker, folder: Path, structures: list[Atoms], number: int) -> list[Job]:
    """A label job for each structure, as the bootstrap has them."""
    context = StageContext(
        campaign="labels", round=number, seed=0, artifacts=str(folder / "artifacts"), work=str(folder / "work")
    )
    return [
        named(maker.make(context, to_stored(atoms), request=f"labels/{number}/{i:06d}"), context, "bootstrap-label", i)
        for i, atoms in enumerate(structures)
    ]


def row(store: JobStore, turns: list[tuple[list[Job], float]], workers: int, start: float) -> dict[str, Any]:
    """Wall time (s) of each round of labels by so many workers, and what the labels took themselves."""
    docs = [[LabelledDoc.model_validate(output_of(store, job)) for job in jobs] for jobs, _ in turns]
    walls = np.array([wall for _, wall in turns])
    spent = np.array([sum(doc.seconds for doc in some) for some in docs])
    efficiencies = spent / (workers * walls)
    return {
        "workers": workers,
        "n_labels": len(docs[0]),
        "wall_s": float(np.median(walls)),
        "labels_s": float(np.median(spent)),
        "start_s": start,
        "efficiency": float(np.median(efficiencies)),
        "efficiencies": efficiencies.tolist(),
        "load": os.getloadavg()[0],
        "failed": sum(doc.state == "failed" for some in docs for doc in some),
    }


def output_of(store: JobStore, job: Job) -> Any:
    """The document that a job left."""
    return store.query_one({"uuid": job.uuid}, load=True)["output"]


def by_pool(labeller: AseLabeller, element: str, n_labels: int, workers: int, turns: int) -> dict[str, Any]:
    """Labels by the driver of `idealflow run`."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, maker = Path(name), LabelMaker(labeller)
        store = JobStore(SQLiteStore(str(folder / "store.sqlite"), index_fields=INDEXED_FIELDS))
        store.connect()
        pool = None
        if workers > 1:
            whole = Share(workers * labeller.cores, memory_at_hand_gb())
            pool = stack.enter_context(Pool(workers, whole, store, name))
        runner = FlowRunner(store, name, pool)
        begun = time.perf_counter()
        runner.run(Flow(label_jobs(maker, folder, cells(workers, 1, element), 0)))
        start, made = time.perf_counter() - begun, []
        for turn in range(1, turns + 1):
            started = time.perf_counter()
            jobs = label_jobs(maker, folder, cells(n_labels, turn + 1, element), turn)
            runner.run(Flow(jobs))
            made.append((jobs, time.perf_counter() - started))
        return row(store, made, workers, start)


def by_rockets(labeller: AseLabeller, element: str, n_labels: int, workers: int, turns: int) -> dict[str, Any]:
    """Labels by processes of `rlaunch rapidfire`, each of which has made one before the clock starts."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, maker = Path(name), LabelMaker(labeller)
        cluster = Cluster(folder / "cluster", stack.enter_context(running_server(folder)), (WORKFLOWS,))
        stack.callback(cluster.end)
        launchpad, store = cluster.launchpad(), cluster.job_store()

        def submitted(structures: list[Atoms], number: int) -> list[Job]:
            jobs = label_jobs(maker, folder, structures, number)
            launchpad.add_wf(flow_to_workflow(Flow(jobs), store))
            return jobs

        def done() -> bool:
            return launchpad.get_fw_ids({"state": {"$ne": "COMPLETED"}}, count_only=True) == 0

        begun = time.perf_counter()
        launched = [cluster.worker(None, "--nlaunches", "infinite", "--sleep", "1").log.parent for _ in range(workers)]
        number = 0
        while not all(any(place.glob("launcher_*")) for place in launched):
            number += 1
            submitted(cells(workers, number, element), number)
            if not wait_for(done, PATIENCE_S):
                raise RuntimeError(f"{workers} rockets did not make {workers} labels in {PATIENCE_S} s")
        start, made = time.perf_counter() - begun, []
        for turn in range(number + 1, number + turns + 1):
            started = time.perf_counter()
            jobs = submitted(cells(n_labels, turn, element), turn)
            if not wait_for(done, PATIENCE_S, every=0.1):
                raise RuntimeError(f"{workers} rockets did not make {n_labels} labels in {PATIENCE_S} s")
            made.append((jobs, time.perf_counter() - started))
        return row(store, made, workers, start)


def kept_rows(path: Path | None, way: str) -> list[dict[str, Any]]:
    """What was kept of this way."""
    found: list[dict[str, Any]] = json.loads(path.read_text()).get(way, []) if path and path.exists() else []
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--by", nargs="+", choices=["pool", "rockets", "gpaw"], default=["pool"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--labels", type=int, default=96)
    parser.add_argument("--turns", type=int, default=3, help="rounds of so many labels")
    parser.add_argument("--seconds", type=float, default=3.0, help="that a label sleeps")
    add_out(parser)
    arguments = parser.parse_args()
    kwargs = {"pause_s": arguments.seconds}
    sleeping = AseLabeller("workbench.counting_emt.CountingEMT", kwargs, reference="EMT (stands in for DFT)")
    ways = {
        "pool": (by_pool, sleeping, "Cu"),
        "rockets": (by_rockets, sleeping, "Cu"),
        "gpaw": (by_pool, AseLabeller("gpaw.GPAW", GPAW, reference="GPAW PBE"), "Li"),
    }
    with tempfile.NamedTemporaryFile() as log:
        os.environ["COUNTED_LABELS"] = log.name
        for way in arguments.by:
            made, labeller, element = ways[way]
            rows = {row["workers"]: row for row in kept_rows(arguments.out, way)}
            for workers in arguments.workers:
                rows[workers] = made(labeller, element, arguments.labels, workers, arguments.turns)
                print(way, rows[workers], flush=True)
                keep(arguments.out, **{way: [rows[each] for each in sorted(rows)]})


if __name__ == "__main__":
    main()
