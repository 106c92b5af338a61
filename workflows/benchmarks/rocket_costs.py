"""Processor time of a label by FireWorks' rockets, in the rocket and in the server, as it is and as it might be.

    python workflows/benchmarks/rocket_costs.py [--labels 48] [--out workflows/benchmarks/results/rocket_costs.json]

One process of `rlaunch rapidfire` makes labels by ASE's EMT that do not sleep, from a server of its own (mongo-java-server,
standing in for MongoDB); it and the server have made some before their processor time is read, so that no start is in it. ``as it
is``: one workflow for all labels, a server that writes before it answers (`parallel_labels.py`). Then a workflow for each label;
without the file that FireWorks writes of each launch (`PRINT_FW_JSON: false`); and with a server that writes once a second, or
never.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from jobflow import Flow
from jobflow.managers.fireworks import flow_to_workflow
from parallel_labels import WORKFLOWS, cells, label_jobs

from idealflow import AseLabeller, LabelMaker
from workbench.cluster import PATIENCE_S, Cluster, DocumentServer, wait_for
from workbench.keeping import add_out, keep

TICKS = os.sysconf("SC_CLK_TCK")


class Way(NamedTuple):
    """How labels are made."""

    name: str
    server: Literal["", "lazy", "memory"] = ""
    apart: bool = False
    files: bool = True


WAYS = (
    Way("as it is"),
    Way("a workflow for each label", apart=True),
    Way("no file of each launch", files=False),
    Way("a server that writes once a second", server="lazy"),
    Way("a server that never writes", server="memory"),
)


def processor_seconds(pid: int) -> float:
    """Processor time of a process and of those that it started."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(int, fields[11:15])) / TICKS + sum(processor_seconds(int(child)) for child in children)


def measured(way: Way, n_labels: int) -> dict[str, Any]:
    """Milliseconds of a label by one rocket."""
    labeller = AseLabeller("workbench.counting_emt.CountingEMT", {}, reference="EMT (stands in for DFT)")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, maker = Path(name), LabelMaker(labeller)
        server = DocumentServer(folder, way.server)
        server.start()
        stack.callback(server.kill)
        cluster = Cluster(folder / "cluster", server.uri, (WORKFLOWS,))
        stack.callback(cluster.end)
        settings = yaml.safe_load((cluster.folder / "FW_config.yaml").read_text())
        cluster.write("FW_config.yaml", settings | {"PRINT_FW_JSON": way.files})
        launchpad, store = cluster.launchpad(), cluster.job_store()

        def submit(n: int, number: int) -> None:
            jobs = label_jobs(maker, folder, cells(n, number, "Cu"), number)
            for part in [[job] for job in jobs] if way.apart else [jobs]:
                launchpad.add_wf(flow_to_workflow(Flow(part), store))

        def done() -> bool:
            return launchpad.get_fw_ids({"state": {"$ne": "COMPLETED"}}, count_only=True) == 0

        rocket = cluster.worker(None, "--nlaunches", "infinite", "--sleep", "1")
        pids = rocket.process.pid, server.process.pid if server.process else 0
        spent = []
        for number, n in enumerate((8, n_labels)):
            submit(n, number)
            before = [processor_seconds(pid) for pid in pids]
            if not wait_for(done, PATIENCE_S, every=2.0):
                raise RuntimeError(f"{way.name}: a rocket did not make {n} labels in {PATIENCE_S} s")
            spent = [processor_seconds(pid) - start for pid, start in zip(pids, before, strict=True)]
        rocket_ms, server_ms = (1e3 * seconds / n_labels for seconds in spent)
        return {
            "way": way.name,
            "n_labels": n_labels,
            "rocket_ms": rocket_ms,
            "server_ms": server_ms,
            "load": os.getloadavg()[0],
        }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=48)
    add_out(parser)
    arguments = parser.parse_args()
    rows = []
    with tempfile.NamedTemporaryFile() as log:
        os.environ["COUNTED_LABELS"] = log.name
        for way in WAYS:
            rows.append(measured(way, arguments.labels))
            print(rows[-1], flush=True)
            keep(arguments.out, ways=rows)


if __name__ == "__main__":
    main()
