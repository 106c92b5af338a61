"""A campaign on a polycrystal of a million atoms: what its steps, screens, crops and rounds take, what it keeps, if killed too.

    python workflows/benchmarks/million_atoms.py [--atoms 1025000] [--steps 20] [--kills] [--out FILE.json]

Copper, in a box of randomly turned grains; EMT stands in for DFT and labels cells of some hundred atoms. `idealflow run` does the
campaign in a process of its own, in which a stopwatch stands (:mod:`workbench.watched`). With ``--kills`` the same campaign is
run again as far as round ``--until`` in a second folder, killed there with SIGKILL in the middle of a segment, and at a
screen and at a relaxation, continued each time, and every document is compared with those of the first: MD states, labels and
models are in them as hashes. ``--atoms 20000`` takes minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bson
import yaml

from idealflow import Campaign
from workbench.keeping import add_out, keep
from workbench.threads import one_thread
from workbench.trials import differing, documents

#: atoms of such a polycrystal in an Å³, and in a grain
DENSITY, GRAIN = 0.0813, 50_000
#: what the first model learns: crystals, and cells with several grains
SMALL = {"builder": "polycrystal", "element": "Cu", "crystal": "fcc", "a": 3.62, "closest": 0.85, "box": 11.5}


def config(n_atoms: int, steps: int, threshold: float) -> dict[str, Any]:
    """The campaign's config."""
    box = round((n_atoms / DENSITY) ** (1.0 / 3.0), 1)
    crystal = {"element": "Cu", "crystal": "fcc", "a": 3.62, "cubic": True, "repeat": [2, 2, 2]}
    grains = [SMALL | {"n_grains": 2 + seed % 2, "seed": seed} for seed in (1, 2, 3, 4)]
    return {
        "campaign": "million",
        "seed": 0,
        "workers": 1,
        "threshold": threshold,
        "structure": SMALL | {"box": box, "n_grains": max(2, round(n_atoms / GRAIN)), "seed": 0},
        "bootstrap": {
            "seeds": [crystal, *grains],
            "n_structures": 60,
            "rattle": [0.02, 0.12],
            "strain": 0.03,
            "soap": {"r_cut": 4.0, "n_max": 6, "l_max": 6, "sigma": 0.4},
            "force_field_settings": {"cutoff": 5.0},
        },
        "segment": {
            "sampler": {"name": "langevin", "timestep": 2.0, "friction": 0.02},
            "schedule": [{"kind": "hold", "temperature": 600, "steps": steps}],
            "check_interval": 5,
            "segment_steps": 10,
        },
        "screen": {"max_centres": 4},
        "crop": {"n_candidates": 50, "max_atoms": 250},
        "relax": {"max_steps": 100},
        "label": {"labeller": {"calculator": "ase.calculators.emt.EMT", "reference": "EMT (stands in for DFT)"}},
        "update": {"n_steps": 20, "n_replay": 16},
    }


@dataclass
class Run:
    """A campaign in a folder, and what was seen of the processes that ran it, which a file there keeps."""

    folder: Path
    settings: dict[str, Any]
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_gb: float = 0.0
    killed_at: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Take up what was seen before."""
        if self.seen.exists():
            self.__dict__.update(json.loads(self.seen.read_text()))

    @property
    def seen(self) -> Path:
        """Where it is kept what was seen."""
        return self.folder / "seen.json"

    @property
    def campaign(self) -> Path:
        """The folder of the campaign itself."""
        return self.folder / "campaign"

    @property
    def events(self) -> Path:
        """What the stopwatch wrote."""
        return self.folder / "events.jsonl"

    def go(self, rounds: int | None = None, kill_at: tuple[str, int] | None = None) -> None:
        """Run or continue it, for so many rounds; killed when the ``n``-th call of ``what`` has begun since, if asked."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "config.yaml"
        file.write_text(yaml.safe_dump(self.settings))
        command = [sys.executable, "-m", "workbench.watched", str(self.events), "run", str(file)]
        command += ["--out", str(self.campaign), "--quiet"]
        command += [] if rounds is None else ["--max-rounds", str(rounds)]
        before, began = len(self.read()), time.perf_counter()
        with (self.folder / "output.txt").open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
            if kill_at is not None and self._reached(process, before, *kill_at):
                process.kill()
                self.killed_at.append(kill_at[0])
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        self.wall_s += time.perf_counter() - began
        self.cpu_s += used.ru_utime + used.ru_stime
        self.peak_gb = max(self.peak_gb, used.ru_maxrss / 1e6)
        kept = ("wall_s", "cpu_s", "peak_gb", "killed_at")
        self.seen.write_text(json.dumps({name: getattr(self, name) for name in kept}))
        if process.returncode not in ((0,) if kill_at is None else (0, -9)):
            raise SystemExit(f"idealflow run ended with {process.returncode}; see {self.folder / 'output.txt'}")

    def _reached(self, process: subprocess.Popen[bytes], before: int, what: str, n: int) -> bool:
        """Wait for the ``n``-th call that begins after so many lines; False if the process ends first."""
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            begun = [row for row in self.read()[before:] if row["what"] == what and not row["end"]]
            if len(begun) >= n:
                return True
            time.sleep(0.2)
        return False

    def read(self) -> list[dict[str, Any]]:
        """What the stopwatch wrote so far; a line that a kill cut short is left out."""
        lines = self.events.read_text().splitlines() if self.events.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]


def calls(run: Run, what: str, least: int = 0) -> dict[str, Any]:
    """Number, median, lowest and highest CPU seconds of the calls that ended, and the median by the clock."""
    found = [row for row in run.read() if row["what"] == what and row["end"] and row.get("n", least) >= least]
    times = [row["cpu_s"] for row in found]
    if not times:
        return {"what": what, "n": 0}
    by_clock = statistics.median(row["s"] for row in found)
    return {"what": what, "n": len(times), "cpu_s": [statistics.median(times), min(times), max(times)], "s": by_clock}


def rounds(run: Run) -> list[dict[str, Any]]:
    """What each round did and kept: files in MB."""
    campaign = Campaign.open(run.campaign)
    screens = {doc.round: doc for doc in campaign.screens()}
    updates = {doc.round: doc for doc in campaign.updates()}
    rows = []
    for doc in campaign.segments():
        if doc.round not in updates:
            continue  # the round is under way
        sizes = {"end_state": doc.end_state.size, "screened": 0 if doc.screened is None else doc.screened.size}
        sizes["trajectory"] = 0 if doc.trajectory is None else doc.trajectory.size
        after = updates[doc.round].learner
        if updates[doc.round].version_after != updates[doc.round].version_before:
            sizes["model"] = after.force_field.size + after.uncertainty.size + after.ledger.size
        files = {name: round(size / 1e6, 2) for name, size in sizes.items() if size}
        rows.append(
            {
                "round": doc.round, "steps": [doc.first_step, doc.last_step], "reason": doc.reason,
                "triggering": screens[doc.round].n_triggering, "labels": len(updates[doc.round].accepted),
                "segment_s": doc.seconds, "screen_s": screens[doc.round].seconds, "update_s": updates[doc.round].seconds,
                "seconds": campaign.round_seconds(doc.round), "files_mb": files,
            }
        )  # fmt: skip
    return rows


def kept_on_disk(run: Run) -> dict[str, Any]:
    """Files of the campaign's folder, their size, and the largest document."""
    files = [path for path in run.campaign.rglob("*") if path.is_file()]
    store = Campaign.open(run.campaign).store
    largest = max(len(bson.encode(document)) for document in store.query({}, load=True))
    size_gb = sum(path.stat().st_size for path in files) / 1e9
    return {"files": len(files), "gb": size_gb, "largest_document_kb": largest / 1e3}


#: when the second campaign is killed: as the so many-th call of a part begins. The second screen after the first kill is that of
#: step 5, whose checkpoint stands already
KILLS = (("step", 3), ("screen", 2), ("relax", 1))


def run_killed(run: Run, until: int) -> None:
    """Run a campaign to a round, through the kills."""
    for moment in KILLS[len(run.killed_at) :]:
        run.go(max(1, until - reached(run)), moment)
    while reached(run) < until:
        run.go(until - reached(run))


def reached(run: Run) -> int:
    """How many rounds a campaign has committed."""
    return max((doc["round"] for doc in documents(run.campaign).values() if doc["kind"] == "state"), default=0)


def compared(run: Run, reference: Run) -> dict[str, Any]:
    """Every document of a campaign that was killed beside that of the one that was not."""
    found, expected = documents(run.campaign), documents(reference.campaign)
    state = Campaign.open(run.campaign).state()
    assert state is not None and state.learner is not None  # noqa: S101, PT018  # it has run rounds
    return {
        "killed_in": run.killed_at, "rounds": state.round, "step": state.walkers[0].step, "documents": len(found),
        "differing": differing(found, expected), "md_state": state.walkers[0].md_state.sha256,
        "model": state.learner.force_field.sha256, "peak_gb": run.peak_gb, "wall_s": run.wall_s, "cpu_s": run.cpu_s,
    }  # fmt: skip


def measured(run: Run) -> dict[str, Any]:
    """The parts of the stored results that the undisturbed campaign gives."""
    campaign = Campaign.open(run.campaign)
    state = campaign.state()
    assert state is not None and state.learner is not None  # noqa: S101, PT018  # it has finished
    n = state.n_atoms
    whole = [calls(run, "step"), calls(run, "forces", n), calls(run, "screen"), calls(run, "save")]
    return {
        "campaign": {
            "n_atoms": n, "steps": state.walkers[0].step, "rounds": state.round, "status": state.status,
            "substructures": state.n_substructures, "frames": state.n_labelled_frames, "model_version": state.learner.version,
            "bootstrap_labels": state.n_bootstrap_labels, "threshold": state.threshold, "wall_s": run.wall_s, "cpu_s": run.cpu_s,
            "peak_gb": run.peak_gb, "load": os.getloadavg()[1], "threads": state.threads,
        },
        "calls": [*whole, calls(run, "choice"), calls(run, "crop"), calls(run, "relax")],
        "rounds": rounds(run),
        "disk": kept_on_disk(run),
    }  # fmt: skip


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atoms", type=int, default=1_025_000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threshold", type=float, default=6.0)
    parser.add_argument("--kills", action="store_true", help="run it again, killed, and compare")
    parser.add_argument("--only-killed", action="store_true", help="only run what is killed; a later call compares")
    parser.add_argument("--until", type=int, default=4, help="rounds of the campaign that is killed")
    parser.add_argument("--folder", type=Path, help="where the campaigns are kept; default: a temporary folder")
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).absolute()
        settings = config(arguments.atoms, arguments.steps, arguments.threshold)
        run, again = Run(folder / "undisturbed", settings), Run(folder / "killed", settings)
        if arguments.only_killed:
            run_killed(again, arguments.until)
            return 0
        if not (run.campaign / "report.html").exists():
            run.go()
        parts = measured(run)
        keep(arguments.out, **parts)
        print(yaml.safe_dump(parts, sort_keys=False), flush=True)
        if arguments.kills:
            run_killed(again, arguments.until)
            parts = {"killed": compared(again, run)}
            keep(arguments.out, **parts)
            print(yaml.safe_dump(parts, sort_keys=False), flush=True)
            return 1 if parts["killed"]["differing"] else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
