"""The smallest campaign that does everything: 107 Cu atoms, EMT as the reference, ten rounds in a few seconds."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.build import bulk
from jobflow import JobStore

from idealflow import Campaign
from idealflow.provenance import INDEXED_FIELDS
from idealflow.schemas import CampaignState, LearnerVersion
from idealflow.storage import ArtifactStore, SQLiteStore
from idealflow.workflow import IdealMaker, run_campaign
from idealflow.workflow.config.load import maker_from_settings
from idealflow.workflow.frames.encode import to_stored
from idealflow.workflow.learner.version import load_uncertainty_artifact

EMT = "ase.calculators.emt.EMT"
REFERENCE = "EMT (stands in for DFT)"


def settings(**changes: Any) -> dict[str, Any]:
    """Settings of the tiny campaign; a mapping given for a stage is merged into that stage's settings."""
    base: dict[str, Any] = {
        "campaign": "tiny",
        "seed": 1,
        "workers": 1,
        "bootstrap": {
            "seeds": [{"element": "Cu", "crystal": "fcc", "a": 3.62, "cubic": True, "repeat": [2, 2, 2]}],
            "n_structures": 8,
            "rattle": [0.02, 0.08],
            "strain": 0.02,
            "soap": {"r_cut": 3.0, "n_max": 3, "l_max": 3, "sigma": 0.3},
            "force_field_settings": {"cutoff": 4.0, "hidden": [8]},
            "fit_steps": 60,
        },
        "segment": {
            "sampler": {"name": "langevin", "timestep": 2.0, "friction": 0.02},
            "schedule": schedule(20, 40),
            "segment_steps": 20,
            "check_interval": 5,
        },
        "screen": {"max_centres": 2},
        "crop": {"n_candidates": 6, "max_atoms": 90},
        "relax": {"max_steps": 5},
        "label": {"labeller": {"calculator": EMT, "reference": REFERENCE}},
        # so small a network gets worse by millielectronvolts somewhere with every label
        "update": {"n_steps": 5, "n_replay": 3, "n_validation": 2, "energy_reject_floor": 2e-3},
        "evaluation": {"n_frames": 3},
    }
    for key, value in changes.items():
        base[key] = base[key] | value if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    return base


def schedule(hold: int, ramp: int) -> list[dict[str, Any]]:
    """Hold at 300 K, then heat far enough beyond the bootstrap that frames trigger."""
    stages: list[dict[str, Any]] = [{"kind": "hold", "temperature": 300, "steps": hold}]
    return [*stages, {"kind": "ramp", "temperature": 300, "to": 2000, "steps": ramp}] if ramp else stages


def frame() -> Atoms:
    """The frame at step 0: 3×3×3 cubic cells of copper with a vacancy."""
    atoms = bulk("Cu", "fcc", 3.62, cubic=True).repeat(3)
    del atoms[5]
    return atoms


def maker(folder: Path, **changes: Any) -> IdealMaker:
    """Maker of the tiny campaign with its files below ``folder``."""
    return maker_from_settings(
        {"artifacts": str(folder / "artifacts"), "work": str(folder / "work")} | settings(**changes)
    )


def sqlite(folder: Path) -> JobStore:
    """The job store that `idealflow run` uses, in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    store = JobStore(SQLiteStore(str(folder / "store.sqlite"), index_fields=INDEXED_FIELDS))
    store.connect()
    return store


def known_by(learner: LearnerVersion, artifacts: str, folder: Path) -> bytes:
    """The uncertainty of a version as one whole file; what is stored leans on earlier files, so that of equal ones may differ."""
    folder.mkdir(exist_ok=True)
    return load_uncertainty_artifact(ArtifactStore(artifacts), learner).save(folder / "known").read_bytes()


def copied(folder: Path, to: Path) -> Path:
    """Copy a campaign's folder, whoever has it open, as it lies when no process does."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("store.sqlite*", ".lock"))
    with contextlib.closing(sqlite3.connect(folder / "store.sqlite")) as whole:
        whole.execute("VACUUM INTO ?", (str(to / "store.sqlite"),))
    with contextlib.closing(sqlite3.connect(to / "store.sqlite")) as copy:
        copy.execute("PRAGMA journal_mode=WAL")
    return to


def run(
    folder: Path,
    *,
    atoms: Atoms | None = None,
    max_rounds: int | None = None,
    on_round: Callable[[CampaignState], None] | None = None,
    **changes: Any,
) -> tuple[CampaignState, Campaign]:
    """Run (or continue) the tiny campaign in ``folder`` through the local driver."""
    store, made = sqlite(folder), maker(folder, **changes)
    structure = to_stored(frame() if atoms is None else atoms)
    state = run_campaign(made, structure, store, max_rounds=max_rounds, on_round=on_round, root_dir=folder)
    return state, Campaign(store, made.campaign)
