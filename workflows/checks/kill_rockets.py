"""A campaign on FireWorks workers, its processes killed at every stage, compared with a local one that was left alone.

    python workflows/checks/kill_rockets.py [--parts workers kills server lazy stock] [--hits 5]
        [--out workflows/checks/results/kill_rockets.json]
    MONGODB_URI=... python workflows/checks/kill_rockets.py --parts server --kill COMMAND --start COMMAND

Cu; ASE's EMT stands in for DFT; mongo-java-server stands in for MongoDB unless ``MONGODB_URI`` names another server, whose
processes the two commands kill and start again; with them, `lazy` says that it was set to forget its last second.

workers
    Four workers, two for MD and updates, two for the rest, run a campaign of at least 50 rounds.
kills
    A worker is killed with SIGKILL inside each kind of stage, and while it submits the next round, until each was hit
    ``--hits`` times; each time `idealflow recover` and a new worker follow.
server
    The server is killed as often under a working worker, and comes back; `idealflow recover` where the worker died.
lazy
    The same with a server that writes once a second and so forgets its last one. A label committed in that second may be
    paid for again; how many were is counted.
stock
    The same with mongo-java-server's own main, which writes once a second in the midst of commands, so that a kill may
    leave documents that their own indexes do not find. Like a MongoDB without its journal it is repaired before it is used again
    (rebuild.py does what `mongod --repair` does). Not for the server of ``MONGODB_URI``.

Every part must end with the documents and the model of `idealflow run` with the same seed, and every part but the last two
without a committed label computed again. Exit status 0 only if so.

One thing gives other documents, by design: a label's job that is lost, or whose document the server forgot, does not stop
its round. The atom triggers again in the next one, or the label is learned late, so that rounds have other numbers from there
on. Such rounds are named. If nothing else was learned in them, dataset, model and the end of MD must still be the local
run's, to the bit; in any case no model version may have two successors.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rebuild import rebuild

from workbench.cluster import DocumentServer, running_server, wait_for
from workbench.counting_emt import fingerprint
from workbench.keeping import add_out, keep
from workbench.trials import (
    SETTINGS,
    Trial,
    computed,
    differing,
    documents,
    label_prints,
    local_run,
    merged,
    stage_documents,
)

PARTS = ("workers", "kills", "server", "lazy", "stock")
STAGES = ("segment", "screen", "crop", "relax", "label", "update", "submit")
QUEUES = {"queues": {"default": "cpu", "segment": "gpu", "update": "gpu"}}
#: of the campaign with four workers
MIN_ROUNDS = 50
#: at least this long a bomb may wait, s; the stage's own median is added
OVERHEAD_S = 0.04


@dataclass
class Seen:
    """What was seen of a campaign whose processes were killed.

    Attributes
    ----------
    hits
        Kills by the stage that was running.
    killed
        (firework, stage, time) of each kill that hit one.
    repeated
        Labels committed before a kill and computed again after it.
    """

    hits: Counter[str] = field(default_factory=Counter)
    killed: list[tuple[int, str, float]] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)


class StockServer(DocumentServer):
    """The package's own main; repaired whenever it comes back."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "stock")

    def start(self) -> None:
        """Start, or repair and start again."""
        if self.port:
            repaired = DocumentServer(self.folder)
            repaired.start()
            print(
                f"  repair: {rebuild(repaired.uri)} documents that their own index did not find",
                flush=True,
            )
            repaired.kill()
        super().start()


class NamedServer:
    """The server of ``MONGODB_URI``, killed and started by commands of whoever set it up.

    Parameters
    ----------
    uri
        Where it listens.
    kill_command, start_command
        Shell commands; the second returns when the server answers.
    """

    def __init__(self, uri: str, kill_command: str, start_command: str) -> None:
        self.uri, self.kill_command, self.start_command = uri, kill_command, start_command

    def start(self) -> None:
        """Start it, or start it again."""
        subprocess.run(self.start_command, shell=True, check=True)  # noqa: S602  # the caller's own command

    def kill(self) -> None:
        """End it at once."""
        subprocess.run(self.kill_command, shell=True, check=True)  # noqa: S602  # the caller's own command


def run_workers(trial: Trial) -> Seen:
    """Four workers until the campaign is done."""
    for category in ("cpu", "gpu", "cpu", "gpu"):
        trial.worker(category)
    began = time.monotonic()
    if not wait_for(lambda: trial.ended() or trial.fizzled(), 900, every=1.0) or trial.fizzled():
        raise SystemExit(f"the campaign did not end well; fizzled: {trial.fizzled()}")
    print(f"four workers: {time.monotonic() - began:.0f} s with their start")
    launches = trial.launchpad.launches.find({}, {"fworker.name": 1, "host": 1})
    print(f"jobs by category: {dict(Counter(launch['fworker']['name'] for launch in launches))}")
    if (state := trial.campaign.state()) is None or state.round < MIN_ROUNDS:
        raise SystemExit(f"the campaign should have {MIN_ROUNDS} rounds or more: shorten its segments")
    return Seen()


def run_kills(trial: Trial, hits: int, seed: int, durations: dict[str, float]) -> Seen:
    """A worker killed at one stage after the other."""
    rng, seen = random.Random(seed), Seen()  # noqa: S311  # moments of kills, no secrets
    while any(seen.hits[stage] < hits for stage in STAGES):
        stage = min(STAGES, key=lambda each: seen.hits[each])
        known, done = label_prints(stage_documents(trial.store)), len(computed(trial.log))
        worker = trial.worker(doom=f"{stage}:{rng.uniform(0.0, durations.get(stage, 0.0) + OVERHEAD_S):.4f}")
        if not wait_for(lambda worker=worker: worker.process.poll() is not None or trial.ended(), 200, every=0.2):
            raise SystemExit(f"no {stage} in 200 s; see {worker.log}")
        if worker.process.poll() != -9:
            worker.kill()
            break
        moment = time.time()
        for entry in trial.launchpad.fireworks.find({"state": "RUNNING"}, {"fw_id": 1, "spec.stage": 1}):
            struck = "submit" if stage == "submit" else entry["spec"]["stage"]
            seen.hits[struck] += 1
            seen.killed.append((entry["fw_id"], struck, moment))
        seen.repeated += [each for each in computed(trial.log)[done:] if each in known]
        trial.recover()
    known, done = label_prints(stage_documents(trial.store)), len(computed(trial.log))
    trial.worker()
    if not wait_for(trial.ended, 600, every=1.0):
        raise SystemExit("the campaign did not end after its kills")
    seen.repeated += [each for each in computed(trial.log)[done:] if each in known]
    return seen


def run_server_kills(trial: Trial, server: DocumentServer | NamedServer, kills: int, seed: int) -> Seen:
    """The server killed under a worker, and started again."""
    rng, seen = random.Random(seed), Seen()  # noqa: S311  # moments of kills, no secrets
    worker = trial.worker()
    wait_for(trial.steps.exists, 120)
    for _ in range(kills):
        time.sleep(rng.uniform(2.0, 5.0))
        if trial.ended():
            break
        known, done = label_prints(stage_documents(trial.store)), len(computed(trial.log))
        server.kill()
        seen.hits["server"] += 1
        time.sleep(1.0)
        server.start()
        moment, before = time.time(), _progress(trial)
        # a worker survives if it was not just speaking; else its firework is lost or fizzled, and it is started again
        end = time.monotonic() + 20
        while worker.process.poll() is None and _progress(trial) <= before + 5 and time.monotonic() < end:
            time.sleep(0.3)
        if worker.process.poll() is not None or _progress(trial) <= before + 5:
            worker.kill()
            trial.recover()
            worker = trial.worker()
            wait_for(lambda before=before: _progress(trial) > before, 60)
        print(f"  server killed; the campaign moved on after {time.time() - moment:.1f} s", flush=True)
        seen.repeated += [each for each in computed(trial.log)[done:] if each in known]
    known, done = label_prints(stage_documents(trial.store)), len(computed(trial.log))
    end = time.monotonic() + 1200
    while not trial.ended() and time.monotonic() < end:
        before = _progress(trial)
        if not wait_for(lambda before=before: trial.ended() or _progress(trial) > before, 30, every=1.0):
            worker.kill()
            trial.recover()
            worker = trial.worker()
    seen.repeated += [each for each in computed(trial.log)[done:] if each in known]
    return seen


def _progress(trial: Trial) -> int:
    return int(trial.store.count({}))


def updates(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Model updates in the order of their rounds."""
    return sorted((doc for doc in found.values() if doc["kind"] == "update"), key=lambda doc: int(doc["round"]))


def learned(found: dict[str, dict[str, Any]]) -> list[tuple[str, Any, Any]]:
    """What was learned, in order: structure, energy, forces."""
    by_key = {doc["request_key"]: doc for doc in found.values() if doc["kind"] == "substructure"}
    docs = [by_key[key] for update in updates(found) for key in update["learned"]]
    parts = [(doc["structure"], doc["energy"], doc["forces"]) for doc in docs]
    return [
        (fingerprint(each["numbers"], each["positions"], each["cell"]), energy, forces)
        for each, energy, forces in parts
    ]


def last_md(found: dict[str, dict[str, Any]]) -> list[Any]:
    """The exact MD state that every walker ended in."""
    last = max((doc for doc in found.values() if doc["kind"] == "state"), key=lambda doc: int(doc["round"]))
    return [(walker["step"], walker["md_state"]["sha256"]) for walker in last["walkers"]]


def content_faults(
    reference: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]]
) -> tuple[dict[str, list[Any]], bool]:
    """Where a campaign is not the local one, by what must be equal; whether labels were learned in another order."""
    chain = [doc["version_before"] for doc in updates(found) if doc["version_after"] != doc["version_before"]]
    faults = {"model versions with two successors": [v for v, count in Counter(chain).items() if count > 1]}
    # an entry stays on the list until it is learned, so the first update that has it is the one that went without
    without: dict[tuple[int, ...], dict[str, Any]] = {}
    for update in updates(found):
        for each in update["lost"]:
            without.setdefault(tuple(each), update)
    if not without:
        return faults | {  # nothing else may differ
            "documents that differ from the local campaign's": differing(reference, found),
            "documents that the local campaign does not have": sorted(set(found) - set(reference)),
        }, False
    for each, update in without.items():
        print(
            f"round {update['round']} went on without the label of {each} (round, walker, step, atom); {update['reason']}"
        )
    same = {
        "dataset": learned(reference) == learned(found),
        "end of MD": last_md(reference) == last_md(found),
    }
    print("as in the local run: " + ", ".join(f"{name} {'yes' if equal else 'NO'}" for name, equal in same.items()))
    reordered = any(update["accepted"] for update in without.values())
    if not reordered:
        faults |= {f"{name} differs": [] if equal else ["?"] for name, equal in same.items()}
    return faults, reordered


def compare(trial: Trial, seen: Seen, local: Path, out: Path | None, part: str) -> int:
    """Print and keep what was found; number of faults.

    The labels of a forgetful server may be paid for again: that is counted, and no fault.
    """
    reference, found = documents(local), stage_documents(trial.store)
    summary = json.loads((local / "summary.json").read_text())
    state = trial.campaign.state()
    if state is None or state.learner is None:
        raise SystemExit("the campaign has no state")
    labels = [doc for doc in found.values() if doc["kind"] in ("label", "substructure")]
    requests = Counter(doc["request_key"] for doc in labels if not doc["reused_from"])
    submissions = [entry["metadata"]["submission"] for entry in trial.launchpad.workflows.find({}, {"metadata": 1})]
    content, reordered = content_faults(reference, found)
    faults: dict[str, list[Any]] = {
        **content,
        "committed labels computed again": seen.repeated,
        "requests paid for and committed more than once": [key for key, count in requests.items() if count > 1],
        "rounds submitted more than once": [key for key, count in Counter(submissions).items() if count > 1],
        "model hash": [] if reordered or state.learner.force_field.sha256 == summary["model_sha256"] else ["differs"],
        "status": [] if state.status == "finished" else [state.reason],
    }
    print(
        f"{state.round} rounds, {state.n_substructures} substructures, {len(found)} documents, model "
        f"{state.learner.force_field.sha256[:16]} (local: {summary['rounds']} rounds, {summary['model_sha256'][:16]})"
    )
    kept: dict[str, Any] = {
        "rounds": state.round, "substructures": state.n_substructures, "documents": len(found),
        "started": len(computed(trial.log)), "committed": len(label_prints(found)),
    }  # fmt: skip
    reused = sum(bool(doc["reused_from"]) for doc in labels)
    print(
        f"label computations started: {kept['started']}, labels committed: {kept['committed']}, "
        f"requests answered by one that was there: {reused}"
    )
    if part in ("lazy", "stock"):  # a forgetful server
        again = faults.pop("committed labels computed again")
        print(f"labels seen committed before a kill and paid for again: {len(again)}")
    if seen.killed:
        waits: dict[str, list[float]] = {}
        for fw_id, stage, moment in seen.killed:
            at = trial.completed_at(fw_id)
            if at is not None:
                waits.setdefault(stage, []).append(at - moment)
        print(f"{'stage':10s} {'kills':>6s} {'recovered':>10s} {'s to recovery, median (longest)':>34s}")
        kept["stages"] = []
        for stage in STAGES:
            times = waits.get(stage, [])
            print(f"{stage:10s} {seen.hits[stage]:6d} {len(times):10d} {median(times):20.1f} ({max(times):.1f})")
            row = {"stage": stage, "kills": seen.hits[stage], "recovered": len(times)}
            kept["stages"].append(row | {"median_s": median(times), "longest_s": max(times)})
        kept["steps_again"] = trial.steps_lost()
        print(f"MD steps run again: {kept['steps_again']}")
        if sum(map(len, waits.values())) < len(seen.killed):
            faults["killed fireworks that never completed"] = ["?"]
    if trial.recovered:
        sums = [
            sum(column)
            for column in zip(*([int(n) for n in re.findall(r"\d+", line)] for line in trial.recovered), strict=True)
        ]
        print("idealflow recover: {} lost, {} fizzled, {} undone, {} reserved, {} stray, {} stale in all".format(*sums))
    for name, entries in faults.items():
        print(f"{name}: {len(entries)}" + (f", first {entries[0]}" if entries else ""))
    keep(out, **{part: kept | {"faults": {name: len(entries) for name, entries in faults.items()}}})
    trial.cluster.end()
    return sum(map(len, faults.values()))


def stage_durations(local: Path) -> dict[str, float]:
    """Median seconds of each kind of stage in the local run."""
    from idealflow.workflow.folder.directory import CampaignDirectory

    store, found = CampaignDirectory(local).job_store(), {}
    names = {"relaxation": "relax", "substructure": "label"}
    for kind in ("segment", "screen", "crop", "relaxation", "substructure", "update"):
        docs = store.query({"output.kind": kind}, properties=["output.seconds"])
        found[names.get(kind, kind)] = median(doc["output"]["seconds"] for doc in docs)
    store.close()
    return found


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--hits", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the campaigns run, to be kept; default: a temporary folder")
    add_out(parser)
    parser.add_argument("--kill", help="command that kills the server of MONGODB_URI, as kill -9 does")
    parser.add_argument("--start", help="command that starts it again")
    arguments = parser.parse_args()
    uri, faults = os.environ.get("MONGODB_URI", "").rstrip("/"), 0
    if uri and not (arguments.kill and arguments.start) and {"server", "lazy"} & set(arguments.parts):
        parser.error("parts server and lazy kill the server: for that of MONGODB_URI give --kill and --start")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        print(f"server: {uri or 'mongo-java-server with H2, standing in for MongoDB'}")
        longer = merged(SETTINGS, {"segment": {"segment_steps": 15}})
        for part in arguments.parts:
            settings = longer if part == "workers" else SETTINGS
            local = folder / ("local-longer" if part == "workers" else "local")
            if not local.exists():
                local_run(local, settings)
            print(f"\n{part}", flush=True)
            place = folder / part
            place.mkdir(parents=True)
            if part in ("workers", "kills"):
                with running_server(place) as uri:
                    trial = Trial(place / "trial", uri, merged(settings, QUEUES) if part == "workers" else settings)
                    seen = (
                        run_workers(trial)
                        if part == "workers"
                        else run_kills(trial, arguments.hits, arguments.seed, stage_durations(local / "out"))
                    )
                    faults += compare(trial, seen, local / "out", arguments.out, part)
            else:
                server: DocumentServer | NamedServer
                if part == "stock":
                    server = StockServer(place)
                elif uri:
                    server = NamedServer(uri, arguments.kill, arguments.start)
                else:
                    server = DocumentServer(place, "lazy" if part == "lazy" else "")
                server.start()
                trial = Trial(place / "trial", server.uri, settings)
                seen = run_server_kills(trial, server, arguments.hits, arguments.seed)
                faults += compare(trial, seen, local / "out", arguments.out, part)
                server.kill()
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
