"""Wall time of a round's labels by 1, 2, 4, 8, 16 workers: how well the driver of `idealflow run` keeps workers busy.

    python workflows/benchmarks/parallel_labels.py --out workflows/benchmarks/results/parallel_labels.json

A label sleeps for three seconds, as this machine would while a plane-wave code works on other cores, and is then computed by
ASE's EMT, which stands in for DFT. Before the clock starts every worker makes a label, so that all of them and their calculators'
processes are there; how long that took is printed, too. The efficiency is the time that labels took, summed, over workers times
wall time.

    python workflows/benchmarks/parallel_labels.py --gpaw --workers 1 2 --labels 8

asks GPAW (`make gpaw`) for the labels, which need a core each.
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

from ase import Atoms
from ase.build import bulk
from jobflow import Flow, Job, JobStore

from idealflow import AseLabeller, LabelMaker
from idealflow.provenance import INDEXED_FIELDS
from idealflow.schemas import LabelledDoc, StageContext
from idealflow.storage import SQLiteStore
from idealflow.workflow.drivers.machine import Share, memory_at_hand_gb
from idealflow.workflow.drivers.pool import Pool
from idealflow.workflow.drivers.run_flow import FlowRunner
from idealflow.workflow.frames.encode import to_stored
from idealflow.workflow.jobs.stage import named

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


def measured(labeller: AseLabeller, element: str, n_labels: int, workers: int) -> dict[str, Any]:
    """Wall time (s) of so many labels by so many workers, and what the labels took themselves."""
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
        started = time.perf_counter()
        jobs = label_jobs(maker, folder, cells(n_labels, 2, element), 1)
        runner.run(Flow(jobs))
        wall = time.perf_counter() - started
        docs = [LabelledDoc.model_validate(store.query_one({"uuid": job.uuid}, load=True)["output"]) for job in jobs]
    spent = sum(doc.seconds for doc in docs)
    return {
        "workers": workers,
        "n_labels": n_labels,
        "wall_s": round(wall, 2),
        "labels_s": round(spent, 2),
        "start_s": round(started - begun, 2),
        "efficiency": round(spent / (workers * wall), 3),
        "failed": sum(doc.state == "failed" for doc in docs),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--labels", type=int, default=96)
    parser.add_argument("--seconds", type=float, default=3.0, help="that a label sleeps")
    parser.add_argument("--gpaw", action="store_true", help="labels of lithium by GPAW, which do not sleep")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    labeller, element = AseLabeller("gpaw.GPAW", GPAW, reference="GPAW PBE"), "Li"
    if not arguments.gpaw:
        kwargs = {"pause_s": arguments.seconds}
        labeller = AseLabeller("workbench.counting_emt.CountingEMT", kwargs, reference="EMT (stands in for DFT)")
        element = "Cu"
    with tempfile.NamedTemporaryFile() as log:
        os.environ["COUNTED_LABELS"] = log.name
        rows = []
        for workers in arguments.workers:
            rows.append(measured(labeller, element, arguments.labels, workers))
            print(rows[-1], flush=True)
    if arguments.out is not None:
        arguments.out.parent.mkdir(exist_ok=True)
        arguments.out.write_text(json.dumps({"method": labeller.method, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
