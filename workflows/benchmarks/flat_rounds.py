"""Time, memory and documents of a campaign's rounds, over a thousand of them.

    python workflows/benchmarks/flat_rounds.py [--rounds 1000]

The sampler, the force field and the labeller cost nothing; everything else is the program as `idealflow run` drives it:
store, artifacts, screening, crops, coverage, replay, updates, the summary after every round. Two atoms of copper make a
frame that is used whole, with environments that mirror each other: every frame triggers, one label answers it, and the
next round finds the next frame. What is printed must not grow with the round; what does grow says by how much.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from jobflow import JobStore
from jobflow.core.job import Response
from monty.json import MSONable

from idealflow.core.dynamics import MDState, Observation, register_sampler
from idealflow.forcefields import TrainReport
from idealflow.forcefields.registry import register_force_field
from idealflow.labelling import Label
from idealflow.provenance import INDEXED_FIELDS, Campaign
from idealflow.report import write_summary
from idealflow.schemas import CampaignState
from idealflow.storage import SQLiteStore
from idealflow.workflow import IdealMaker, run_campaign
from idealflow.workflow.config.load import maker_from_settings
from idealflow.workflow.frames.encode import to_stored

MARKS = (10, 20, 50, 100, 200, 300, 500, 700, 1000)
WINDOW = 10


@register_sampler
@dataclass(frozen=True)
class Hops:
    """Puts one of the two atoms somewhere new; costs nothing."""

    name: ClassVar[str] = "hops"

    def time_step(self, state: MDState) -> float:  # noqa: ARG002  # the protocol's signature
        """No time."""
        return math.nan

    def check(self, state: MDState) -> None:
        """Anything goes."""

    def start(self, state: MDState, atoms: Atoms, rng: np.random.Generator, temperature: float) -> HoppingMotion:  # noqa: ARG002
        """Bind to the atoms."""
        return HoppingMotion(atoms, rng)


class HoppingMotion:
    """The sampler at work."""

    def __init__(self, atoms: Atoms, rng: np.random.Generator) -> None:
        self.atoms, self.rng, self.home = atoms, rng, np.asarray(atoms.cell).sum(axis=0) / 2

    def step(self, temperature: float) -> None:  # noqa: ARG002  # the protocol's signature
        """Put the second atom near the middle of the cell."""
        self.atoms.positions[1] = self.atoms.positions[0] + self.home + self.rng.uniform(-0.4, 0.4, 3)

    def observe(self) -> Observation:
        """Nothing to see."""
        return Observation(0.0, None, math.nan)

    def memory(self) -> dict[str, Any]:
        """None needed."""
        return {}


class Nothing(Calculator):
    """No energy, no forces."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        """Return zeros."""
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}


class FreeForceField:
    """Knows nothing, learns nothing, costs nothing."""

    name = "free"
    cutoff = 1.0

    def __init__(self, species: Sequence[str], updates: int = 0) -> None:
        self.species = tuple(species)
        self.updates = updates

    def calculator(self) -> Nothing:
        """Zeros."""
        return Nothing()

    def fit(self, dataset: Sequence[Atoms], **_: Any) -> TrainReport:
        """Count."""
        return TrainReport(0, [0.0], self.errors(dataset))

    def update(self, new: Sequence[Atoms], replay: Sequence[Atoms], **_: Any) -> TrainReport:  # noqa: ARG002
        """Count."""
        self.updates += 1
        return TrainReport(1, [0.0], self.errors(new))

    def errors(self, dataset: Sequence[Atoms]) -> np.ndarray:
        """The same for every structure."""
        return np.full((len(dataset), 3), 0.01)

    def save(self, path: str | Path) -> Path:
        """One line."""
        path = Path(path)
        path.write_text(json.dumps({"force_field": "free", "species": self.species, "updates": self.updates}) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path) -> FreeForceField:
        """Read the line."""
        data = json.loads(Path(path).read_text())
        return cls(data["species"], data["updates"])

    def copy(self) -> FreeForceField:
        """Another one."""
        return FreeForceField(self.species, self.updates)


register_force_field("free", FreeForceField)


@dataclass
class FreeLabeller(MSONable):
    """Labels with zeros."""

    method: str = "nothing (stands in for DFT)"
    cores: int = 1

    def check_site(self, species: Iterable[str]) -> None:
        """Every machine can do nothing."""

    def science(self) -> dict[str, Any]:
        """Nothing decides it."""
        return {"method": self.method}

    def label(self, atoms: Atoms, directory: Path) -> tuple[Label, bytes | None]:  # noqa: ARG002
        """Zeros."""
        return Label(0.0, np.zeros((len(atoms), 3)), np.zeros(6), self.method, 0.0), None


class Ruler:
    """Measures after every round."""

    def __init__(self, campaign: Campaign, folder: Path) -> None:
        self.campaign, self.folder = campaign, folder
        self.rows: list[dict[str, float]] = []
        self.clock, self.cpu = time.perf_counter(), time.process_time()

    def __call__(self, state: CampaignState) -> None:
        """One row: cost of the round, memory, what it left in store and folder."""
        write_summary(self.campaign, self.folder / "summary.json")
        now, cpu = time.perf_counter(), time.process_time()
        row = {"round": state.round, "wall_ms": 1e3 * (now - self.clock), "cpu_ms": 1e3 * (cpu - self.cpu)}
        row["labels"] = state.n_substructures
        if state.round in MARKS:
            row |= self.sizes(state)
        self.rows.append(row)
        self.clock, self.cpu = time.perf_counter(), time.process_time()

    def sizes(self, state: CampaignState) -> dict[str, float]:
        """Sizes at one round; not part of its time."""
        gc.collect()
        docs = list(self.campaign.store.query({"metadata.round": state.round - 1}, load=True))
        assert state.learner is not None  # noqa: S101  # every counted round has a model
        return {
            "rss_mb": resident_mb(),
            "responses": sum(type(thing) is Response for thing in gc.get_objects()),
            "docs": len(docs),
            "docs_kb": sum(len(json.dumps(doc, default=str)) for doc in docs) / 1e3,
            "state_b": len(state.model_dump_json()),
            "store_kb": sum(path.stat().st_size for path in self.folder.glob("store.sqlite*")) / 1e3,
            "uncertainty_kb": state.learner.uncertainty.size / 1e3,
            "ledger_kb": state.learner.ledger.size / 1e3,
        }


def resident_mb() -> float:
    """Resident memory of this process (Linux), MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def free_campaign(folder: Path, rounds: int) -> IdealMaker:
    """Maker of a campaign whose science costs nothing."""
    return maker_from_settings(
        {
            "campaign": "flat",
            "threshold": 1e-6,
            "artifacts": str(folder / "artifacts"),
            "work": str(folder / "work"),
            "bootstrap": {
                "n_structures": 8,
                "min_atoms": 2,
                "force_field": "free",
                "soap": {"r_cut": 3.0, "n_max": 4, "l_max": 4, "sigma": 0.4},
            },
            "segment": {
                "sampler": {"name": "hops"},
                "schedule": [{"kind": "hold", "temperature": 300, "steps": 10 * rounds}],
                "check_interval": 1,
            },
            "screen": {"max_centres": 1},
            "label": {"labeller": FreeLabeller()},
        }
    )


def frame() -> Atoms:
    """The frame at step 0."""
    return bulk("Cu", "bcc", 2.9, cubic=True)


def run(folder: Path, rounds: int) -> Ruler:
    """Run the campaign in ``folder`` and measure it."""
    maker = free_campaign(folder, rounds)
    store = JobStore(SQLiteStore(str(folder / "store.sqlite"), index_fields=INDEXED_FIELDS))
    campaign = Campaign(store, "flat")
    ruler = Ruler(campaign, folder)
    run_campaign(maker, to_stored(frame()), store, max_rounds=rounds + 1, on_round=ruler, root_dir=folder)
    return ruler


def report(rows: list[dict[str, float]], folder: Path) -> None:
    """Print the table and the slopes."""
    labels = np.diff([0.0, *(row["labels"] for row in rows)])
    print(f"{len(rows)} rounds; rounds that labelled nothing after the bootstrap: {int((labels[1:] == 0).sum())}")
    columns = ("rss_mb", "responses", "docs", "docs_kb", "state_b", "store_kb", "uncertainty_kb", "ledger_kb")
    print(f"{'round':>6} {'wall ms':>8} {'CPU ms':>8} " + " ".join(f"{name:>14}" for name in columns))
    for i, row in enumerate(rows):
        if "rss_mb" not in row:
            continue
        window = rows[max(1, i - WINDOW) : i + 1]
        times = [float(np.median([each[name] for each in window])) for name in ("wall_ms", "cpu_ms")]
        figures = " ".join(f"{row[name]:14.1f}" for name in columns)
        print(f"{int(row['round']):6d} {times[0]:8.1f} {times[1]:8.1f} {figures}")
    later = rows[len(rows) // 10 :]
    slope = np.polyfit([row["round"] for row in later], [row["cpu_ms"] for row in later], 1)[0]
    print(f"slope of CPU time: {1e3 * slope:.1f} ms per round and 1000 rounds")
    total = sum(path.stat().st_size for path in (folder / "artifacts").rglob("*") if path.is_file())
    print(f"artifacts on disk: {total / 1e6:.1f} MB")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ruler = run(Path(name), arguments.rounds)
        report(ruler.rows, Path(name))


if __name__ == "__main__":
    main()
