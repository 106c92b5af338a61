"""What a firework costs the client and the server, over a thousand rounds; and how long the offered queries take.

    python workflows/benchmarks/flat_rockets.py [--rounds 1000] [--queries 100000] [--memory]
        [--out workflows/benchmarks/results/flat_rockets.json]

The campaign of `flat_rounds.py`, whose science costs nothing, driven by a FireWorks worker in this process against a server
over the wire: mongo-java-server, standing in for MongoDB, unless ``MONGODB_URI`` names a real one. The stand-in scans
where MongoDB uses an index, so what it takes grows with what it holds; flatness is shown on what the client spends: CPU
time, commands, and bytes of commands and answers. Printed per firework, as medians over the rounds up to a mark. With
``--memory`` the stand-in keeps its documents in memory, which shortens its scans and with them the run; the client's part is
the same.
"""

from __future__ import annotations

import argparse
import copy
import datetime as dt
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

import bson
import jobflow
from fireworks import FWorker
from fireworks.core.rocket_launcher import launch_rocket
from flat_rounds import frame, free_campaign
from jobflow import JobStore
from pymongo import monitoring

from idealflow import Campaign
from idealflow.provenance import INDEXED_FIELDS
from idealflow.provenance.maggma_internals import mongo_collection
from idealflow.storage import SQLiteStore
from idealflow.workflow.drivers.fireworks import submit_campaign
from workbench.cluster import Cluster, running_server
from workbench.keeping import add_out, keep
from workbench.threads import one_thread

MARKS = (10, 20, 50, 100, 200, 300, 500, 700, 1000)
WINDOW = 9
#: when the first of the many substructures was done, for the queries
START = dt.datetime(2026, 1, 1)  # noqa: DTZ001  # as jobflow writes it: local, without a zone


class Traffic(monitoring.CommandListener):
    """Commands to all servers, and bytes both ways."""

    def __init__(self) -> None:
        self.commands = self.bytes = 0
        self.spent = 0.0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Count a command."""
        began = time.process_time()
        self.commands += 1
        self.bytes += len(bson.encode(event.command))
        self.spent += time.process_time() - began

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Count its answer."""
        began = time.process_time()
        self.bytes += len(bson.encode(event.reply))
        self.spent += time.process_time() - began

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing comes back that is worth counting."""


def run_rounds(folder: Path, uri: str, rounds: int, traffic: Traffic, out: Path | None) -> Cluster:
    """Run the campaign, print a line at each mark, and keep it."""
    cluster = Cluster(folder / "cluster", uri)
    store = cluster.job_store()
    jobflow.SETTINGS.JOB_STORE = store
    maker = replace(free_campaign(folder, rounds), continuation="launchpad")
    submit_campaign(maker, frame(), cluster.launchpad_file)
    launchpad, worker, campaign = cluster.launchpad(), FWorker(), Campaign(store, "flat")
    (folder / "run").mkdir()
    os.chdir(folder / "run")
    head = ("round", "fireworks", "wall ms", "CPU ms", "commands", "kB", "round wall ms", "largest doc kB")
    print("   ".join(head), flush=True)
    rows: list[tuple[float, ...]] = []
    window: list[tuple[float, ...]] = []
    marks: list[dict[str, float]] = []
    done = 0
    while done < rounds:
        before = (time.perf_counter(), time.process_time() - traffic.spent, traffic.commands, traffic.bytes)
        if not launch_rocket(launchpad, worker, strm_lvl="ERROR"):
            break
        after = (time.perf_counter(), time.process_time() - traffic.spent, traffic.commands, traffic.bytes)
        rows.append(tuple(b - a for a, b in zip(before, after, strict=True)))
        current = _rounds(launchpad)
        if current == done:
            continue
        n = len(rows)
        means = tuple(sum(column) / n for column in zip(*rows, strict=True))
        window.append((n, *means, sum(row[0] for row in rows)))
        rows, done = [], current
        if done in MARKS:
            kept = window[-WINDOW:]
            figures = tuple(median(column) for column in zip(*kept, strict=True))
            row = {
                "round": done, "fireworks": figures[0], "wall_ms": 1e3 * figures[1], "cpu_ms": 1e3 * figures[2],
                "commands": figures[3], "kB": figures[4] / 1e3, "round_wall_ms": 1e3 * figures[5],
                "largest_kB": _largest(campaign),
            }  # fmt: skip
            print(
                f"{done:5d} {row['fireworks']:9.0f} {row['wall_ms']:9.1f} {row['cpu_ms']:8.1f} {row['commands']:9.1f} "
                f"{row['kB']:7.1f} {row['round_wall_ms']:13.0f} {row['largest_kB']:12.1f}",
                flush=True,
            )
            marks.append(row)
            keep(out, rounds=marks)
    if marks:
        ratios = {name: marks[-1][name] / marks[0][name] for name in ("cpu_ms", "commands", "kB")}
        print("last mark over first: " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))
    return cluster


def _rounds(launchpad: Any) -> int:
    """Rounds submitted so far; the count does not read documents."""
    return max(0, int(launchpad.workflows.estimated_document_count()) - 2)


def _largest(campaign: Campaign) -> float:
    """Largest document of the last stages, kB."""
    found = mongo_collection(campaign.store.docs_store).find({}, {"_id": 0}).sort("_id", -1).limit(20)
    return max(len(bson.encode(document)) for document in found) / 1e3


def run_queries(folder: Path, cluster: Cluster, n: int) -> list[dict[str, Any]]:
    """Time the offered queries with ``n`` substructures, on the embedded store and on the server."""
    shared = cluster.job_store()
    (model,) = shared.query({"output.kind": "substructure"}, load=True, limit=1)
    model.pop("_id")
    embedded = JobStore(SQLiteStore(str(folder / "queries.sqlite"), index_fields=INDEXED_FIELDS))
    embedded.connect()
    campaign_name = "many"
    for start in range(0, n, 5000):
        documents = []
        for i in range(start, min(start + 5000, n)):
            document = copy.deepcopy(model)
            document["uuid"] = document["output"]["uuid"] = f"{i:032x}"
            document["completed_at"] = (START + dt.timedelta(seconds=i)).isoformat()
            document["output"] |= {
                "campaign": campaign_name,
                "round": i // 2,
                "step": i,
                "atom": i % 997,
                "species": "Cu" if i % 100 else "Ni",
                "model_version": i // 2,
                "uncertainty": float(i % 1000),
                "state": "failed" if i % 1000 == 0 else "accepted",
                "request_key": f"many/{i:09d}",
                "geometry_key": f"{i:064x}",
            }
            documents.append(document)
        embedded.docs_store.update(documents, key=["uuid", "index"])
        mongo_collection(shared.docs_store).insert_many(documents)
    questions: dict[str, dict[str, Any]] = {
        "by species (1 %)": {"species": "Ni", "round": {"$lt": 1000}},
        "by model version": {"model_version": n // 4},
        "by round": {"round": n // 4},
        "by label state": {"state": "failed"},
        "by uncertainty": {"uncertainty": {"$gte": 999.0}},
        "by time": {"completed_at": {"$gte": (START + dt.timedelta(seconds=n - 100)).isoformat()}},
    }
    print(f"\nqueries over {n} substructures, ms (rows)")
    print(f"{'':20s} {'embedded':>18s} {'server':>18s}")
    rows: list[dict[str, Any]] = []
    for name, filters in questions.items():
        line = f"{name:20s}"
        rows.append({"question": name})
        for where, store in (("embedded", embedded), ("server", shared)):
            campaign = Campaign(store, campaign_name)
            times = []
            for _ in range(3):
                began = time.perf_counter()
                n_rows = len(campaign.substructures(**filters))
                times.append(time.perf_counter() - began)
            line += f" {1e3 * median(times):11.1f} ({n_rows:4d})"
            rows[-1] |= {"rows": n_rows, f"{where}_ms": 1e3 * median(times)}
        print(line, flush=True)
    embedded.close()
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=100_000)
    parser.add_argument("--memory", action="store_true", help="a stand-in that writes no file")
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    traffic = Traffic()
    monitoring.register(traffic)
    stand_in = f"mongo-java-server {'in memory' if arguments.memory else 'with H2'}, standing in for MongoDB"
    print(f"server: {os.environ.get('MONGODB_URI', stand_in)}")
    mode: Literal["", "memory"] = "memory" if arguments.memory else ""
    with tempfile.TemporaryDirectory() as temporary, running_server(Path(temporary), mode) as uri:
        cluster = run_rounds(Path(temporary), uri, arguments.rounds, traffic, arguments.out)
        if arguments.queries:
            keep(arguments.out, queries=run_queries(Path(temporary), cluster, arguments.queries))
        cluster.end()
        os.chdir("/")


if __name__ == "__main__":
    main()
