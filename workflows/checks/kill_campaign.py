"""Kill a campaign at random moments and compare it with one that was left alone.

    python workflows/checks/kill_campaign.py --kills 20

runs a small campaign (Cu, EMT stands in for DFT) undisturbed with `idealflow run`, then the same campaign killed with
SIGKILL at random moments, each time followed by `idealflow run` again, and compares: the set of substructures and their
labels, every stored MD segment, every model update, the final model. The labeller writes down what it computes, so a
label that was committed and computed again is found. Exit status 0 only if nothing differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
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
        Stage documents that were stored at each kill.
    rounds
        Rounds committed at each kill.
    repeated
        Labels committed before a kill and computed again after it.
    in_flight
        Labels that had been started but not committed when their process was killed.
    changed
        Documents stored before a kill that were different after it.
    """

    moments: list[int] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    in_flight: int = 0
    changed: list[str] = field(default_factory=list)


def run_killed(config: Path, out: Path, log: Path, *, n_documents: int, kills: int, seed: int) -> Kills:
    """Run a campaign to its end through ``kills`` SIGKILLs, spread over its documents, each at a random moment after one."""
    rng, seen = random.Random(seed), Kills()  # noqa: S311  # moments of kills, no secrets
    marks = sorted(rng.sample(range(n_documents), kills))
    known: dict[str, Any] = {}
    while True:
        done_before = len(computed(log))
        process = start(config, out, log)
        last = len(seen.moments) >= kills
        mark = n_documents if last else marks[len(seen.moments)]
        status = process.wait() if last else _killed_at_work(process, out, mark, rng.uniform(0.0, LONGEST_PAUSE_S))
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


def _killed_at_work(process: subprocess.Popen[bytes], out: Path, mark: int, pause_s: float) -> int | None:
    """Kill ``pause_s`` CPU seconds after document number ``mark``; exit status if the process ended first."""
    while process.poll() is None and (not _holds(out / ".lock", process.pid) or stored(out) < mark):
        time.sleep(0.01)
    worked(process, pause_s)
    if process.poll() is not None:
        return process.returncode
    process.kill()
    process.wait()
    return None


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
    """Wait until a process has worked ``limit_s`` more CPU seconds, or has ended; its work."""
    before, now = None, 0.0
    while process.poll() is None:
        try:
            now = _cpu_seconds(process.pid)
        except (FileNotFoundError, ProcessLookupError):
            break
        before = now if before is None else before
        if now - before >= limit_s:
            break
        time.sleep(0.005)
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


def check(folder: Path, settings: dict[str, Any], *, kills: int, seed: int) -> int:
    """Run both campaigns in ``folder``, print the comparison, and return the number of differences."""
    config = folder / "campaign.yaml"
    config.write_text(yaml.safe_dump(settings))
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
    seen = run_killed(config, killed, log, n_documents=stored(alone), kills=kills, seed=seed)
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
        "files left in work": [str(path) for path in (killed / "work").rglob("*") if path.is_file()],
    }
    print(f"killed {len(seen.moments)} times; of {len(reference)} stage documents there were then: {seen.moments}")
    print(f"rounds committed at each kill: {seen.rounds}")
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
    if len(seen.moments) < kills:
        print(f"the campaign finished before kill {len(seen.moments) + 1}: raise its length")
        return 1
    return sum(len(entries) for entries in failures.values())


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder to keep; default: a temporary one")
    arguments = parser.parse_args()
    if arguments.out is not None:
        arguments.out.mkdir(parents=True)
        return 1 if check(arguments.out, SETTINGS, kills=arguments.kills, seed=arguments.seed) else 0
    with tempfile.TemporaryDirectory() as folder:
        return 1 if check(Path(folder), SETTINGS, kills=arguments.kills, seed=arguments.seed) else 0


if __name__ == "__main__":
    sys.exit(main())
