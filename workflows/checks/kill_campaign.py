"""Kill a campaign at random moments and compare it with one that was left alone.

    python workflows/checks/kill_campaign.py --kills 20

runs a small campaign (Cu, EMT stands in for DFT) undisturbed with `idealflow run`, then the same campaign killed with
SIGKILL at random moments, each time followed by `idealflow run` again, and compares: the set of substructures and their
labels, every stored MD segment, every model update, the final model. The labeller writes down what it computes, so a
label that was committed and computed again is found. Exit status 0 only if nothing differs.

    python workflows/checks/kill_campaign.py --kills 20 --workers 2

lets two workers do the jobs of the campaign that is killed, and one process those of the undisturbed one. Half of the kills
then hit a worker, and the program goes on; after the others every worker must end by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from workbench.trials import SETTINGS, computed, differing, documents, label_prints, start

LONGEST_PAUSE_S = 0.6


@dataclass
class Kills:
    """What was seen of a campaign that was killed.

    Attributes
    ----------
    moments
        Stage documents that were stored at each kill of the program.
    rounds
        Rounds committed at each kill of the program.
    workers
        Job documents that were stored at each kill of a worker.
    orphans
        Workers that had not ended a minute after their program was killed.
    repeated
        Labels committed before a kill and computed again after it.
    in_flight
        Labels that had been started but not committed when their process was killed; one for each worker that was killed.
    changed
        Documents stored before a kill that were different after it.
    """

    moments: list[int] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    workers: list[int] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    in_flight: int = 0
    changed: list[str] = field(default_factory=list)

    @property
    def n_kills(self) -> int:
        """Kills so far."""
        return len(self.moments) + len(self.workers)


def run_killed(config: Path, out: Path, log: Path, *, n_documents: int, kills: int, seed: int, workers: int) -> Kills:
    """Run a campaign to its end through ``kills`` SIGKILLs, spread over its documents, each at a random moment after one."""
    rng, seen = random.Random(seed), Kills()  # noqa: S311  # moments of kills, no secrets
    marks = sorted(rng.sample(range(n_documents), kills))
    known: dict[str, Any] = {}
    while True:
        done_before = len(computed(log))
        process = start(config, out, log)
        status = None
        while status is None:
            if seen.n_kills >= kills:
                status = process.wait()
                break
            if not _at_work(process, out, marks[seen.n_kills], rng.uniform(0.0, LONGEST_PAUSE_S)):
                status = process.returncode
                break
            mine = grandchildren(process.pid) if workers > 1 else []
            if mine and rng.random() < 0.5:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(mine), signal.SIGKILL)
                seen.workers.append(stored(out))
                seen.in_flight += 1
                continue
            process.kill()
            process.wait()
            seen.orphans += _orphans(mine)
            break
        found, new = documents(out), computed(log)[done_before:]
        committed = label_prints(known)
        seen.repeated += [each for each in new if each in committed]
        seen.changed += differing(known, found)
        known = found
        if status is not None:
            if status != 0:
                raise SystemExit(f"idealflow run ended with {status}; see {out}.output")
            return seen
        seen.moments.append(len(found))
        seen.rounds.append(max((doc["round"] for doc in found.values() if doc["kind"] == "state"), default=0))
        seen.in_flight += len(set(new) - label_prints(found))


def grandchildren(pid: int) -> list[int]:
    """Processes that a child of a process has started (Linux): workers are the fork server's."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = entry.read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                parents[int(entry.parent.name)] = int(fields[1])
    return sorted(child for child, parent in parents.items() if parents.get(parent) == pid)


def _orphans(workers: list[int]) -> list[str]:
    """Which of these processes have not ended within a minute."""
    deadline = time.monotonic() + 60.0
    left = workers
    while left and time.monotonic() < deadline:
        left = [pid for pid in left if Path(f"/proc/{pid}").exists() and not _is_zombie(pid)]
        time.sleep(0.1)
    return [str(pid) for pid in left]


def _is_zombie(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def _at_work(process: subprocess.Popen[bytes], out: Path, mark: int, pause_s: float) -> bool:
    """Wait until ``pause_s`` CPU seconds after document number ``mark``; False if the process ended first."""
    while process.poll() is None and (not _holds(out / ".lock", process.pid) or stored(out) < mark):
        time.sleep(0.01)
    worked(process, pause_s)
    return process.poll() is None


def stored(out: Path) -> int:
    """How many job documents the campaign's store has."""
    path = out / "store.sqlite"
    if not path.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM c_docs").fetchone()[0])
        except sqlite3.OperationalError:  # the table is not made yet
            return 0


def worked(process: subprocess.Popen[bytes], limit_s: float = math.inf) -> float:
    """Wait until a process and its workers have worked ``limit_s`` more CPU seconds, or it has ended; their work."""
    before, now = None, 0.0
    while process.poll() is None:
        try:
            now = _cpu_seconds(process.pid)
        except (FileNotFoundError, ProcessLookupError):
            break
        for worker in grandchildren(process.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                now += _cpu_seconds(worker)
        before = now if before is None else before
        if now - before >= limit_s:
            break
        time.sleep(0.02)
    return 0.0 if before is None else now - before


def _cpu_seconds(pid: int) -> float:
    """CPU time of a process so far (Linux): what a busy machine does not stretch."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _holds(lock: Path, pid: int) -> bool:
    """Whether a process has the lock file open (Linux)."""
    try:
        return any(entry.resolve() == lock.resolve() for entry in Path(f"/proc/{pid}/fd").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return False


def check(folder: Path, settings: dict[str, Any], *, kills: int, seed: int, workers: int) -> int:
    """Run both campaigns in ``folder``, print the comparison, and return the number of differences."""
    config, by_workers = folder / "campaign.yaml", folder / "workers.yaml"
    config.write_text(yaml.safe_dump(settings | {"workers": 1}))
    by_workers.write_text(yaml.safe_dump(settings | {"workers": workers}))
    alone, killed = folder / "undisturbed", folder / "killed"
    process = start(config, alone, folder / "undisturbed.log")
    work = worked(process)
    if process.wait() != 0:
        raise SystemExit(f"the undisturbed campaign failed; see {alone}.output")
    reference = documents(alone)
    summary = json.loads((alone / "summary.json").read_text())
    print(
        f"undisturbed: {work:.1f} CPU seconds, {summary['rounds']} rounds, {summary['n_substructures']} substructures, "
        f"model {summary['model_sha256'][:16]}",
        flush=True,
    )
    log = folder / "killed.log"
    seen = run_killed(by_workers, killed, log, n_documents=stored(alone), kills=kills, seed=seed, workers=workers)
    found = documents(killed)
    again = json.loads((killed / "summary.json").read_text())

    missing, extra = differing(reference, found), sorted(set(found) - set(reference))
    requests = Counter(doc["request_key"] for doc in found.values() if doc["kind"] in ("label", "substructure"))
    twice = [key for key, count in requests.items() if count > 1]
    computations = computed(log)
    per_kind = Counter(key.split()[0] for key in reference)
    failures = {
        "documents that differ from the undisturbed campaign's": missing,
        "documents that the undisturbed campaign does not have": extra,
        "stored documents changed by a restart": seen.changed,
        "committed labels computed again": seen.repeated,
        "requests committed more than once": twice,
        "computations that no kill explains": ["?"]
        * max(0, len(computations) - len(set(computations)) - seen.in_flight),
        "model hash": [] if again["model_sha256"] == summary["model_sha256"] else [again["model_sha256"]],
        "workers that outlived their program": seen.orphans,
        "files left in work": [str(path) for path in (killed / "work").rglob("*") if path.is_file()],
    }
    print(f"killed {len(seen.moments)} times; of {len(reference)} stage documents there were then: {seen.moments}")
    print(f"rounds committed at each kill: {seen.rounds}")
    if workers > 1:
        print(f"a worker killed {len(seen.workers)} times; job documents there were then: {seen.workers}")
    print(
        f"killed: {again['rounds']} rounds, {again['n_substructures']} substructures, model {again['model_sha256'][:16]}"
    )
    print(f"documents compared: {dict(per_kind)}")
    print(
        f"labels: {len(label_prints(found))} committed, {len(computations)} computations started, "
        f"{seen.in_flight} in flight at a kill"
    )
    for name, entries in failures.items():
        print(f"{name}: {len(entries)}" + (f", first {entries[0]}" if entries else ""))
    if seen.n_kills < kills:
        print(f"the campaign finished before kill {seen.n_kills + 1}: raise its length")
        return 1
    return sum(len(entries) for entries in failures.values())


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="of the campaign that is killed")
    parser.add_argument("--walkers", type=int, default=1)
    parser.add_argument("--out", type=Path, help="folder to keep; default: a temporary one")
    arguments = parser.parse_args()
    settings = SETTINGS | {"n_walkers": arguments.walkers}
    how = {"kills": arguments.kills, "seed": arguments.seed, "workers": arguments.workers}
    if arguments.out is not None:
        arguments.out.mkdir(parents=True)
        return 1 if check(arguments.out, settings, **how) else 0
    with tempfile.TemporaryDirectory() as folder:
        return 1 if check(Path(folder), settings, **how) else 0


if __name__ == "__main__":
    sys.exit(main())
