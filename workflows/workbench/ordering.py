"""What is measured of a campaign that moves by Monte Carlo: the order of an alloy along the run, and against temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from idealflow.analysis import short_range_order
from idealflow.core.dynamics import Checkpoint, MDState, SegmentFiles, Stage, Trajectory, get_sampler, md_segment
from idealflow.core.dynamics import Schedule as Plan
from idealflow.provenance import CampaignChain
from idealflow.workflow.drivers.comparing import label_frames
from idealflow.workflow.frames.build import build_structure
from idealflow.workflow.labellers import reference_calculator
from idealflow.workflow.stages.evaluation import evenly
from workbench.melting import Rows, errors_on, maker_of

_INTERVAL = 50  # trials between two frames


def order(atoms: Atoms) -> float:
    """Short-range order of an alloy of two elements on the sites of fcc: nearest neighbours only."""
    nearest = (np.sqrt(2.0) * atoms.get_volume() / len(atoms)) ** (1.0 / 3.0)
    return short_range_order(atoms, *sorted(set(atoms.get_chemical_symbols())), r_max=1.2 * nearest)


def course(chain: CampaignChain, n_points: int = 160) -> Rows:
    """The run, a row for a frame: trial, temperature, energy (meV per atom), order, highest uncertainty over the threshold."""
    campaign = chain[-1]
    plan, state = maker_of(campaign).segment.plan(), campaign.state()
    log = campaign.log().set_index("step")
    frames = campaign.trajectory()
    rows: Rows = []
    for i in evenly(n_points, len(frames)):
        atoms = frames[i]
        step = int(atoms.info["step"])
        row = log.loc[step]
        about = {"step": step, "temperature": plan.temperature(step), "order": order(atoms)}
        about |= {"energy": 1e3 * float(row["potential_energy"]) / len(atoms)}
        rows.append(about | {"ratio": float(row["first_uncertainty"]) / state.threshold})
    return rows


def labels(chain: CampaignChain) -> Rows:
    """When each substructure was labelled, in trials, and how new its centre was."""
    table, threshold = chain[-1].table(), chain[-1].state().threshold
    kept = table[table["state"] == "accepted"].to_dict("records")
    return [{"step": row["step"], "ratio": row["uncertainty"] / threshold, "n_atoms": row["n_atoms"]} for row in kept]


def errors(chain: CampaignChain, folder: Path, n_frames: int, parts: int) -> Rows:
    """Errors of the first and the last model on frames of the run, of each of so many parts of it by itself."""
    campaign = chain[-1]
    maker, frames = maker_of(campaign), campaign.trajectory()
    plan = maker.segment.plan()
    labelled, failed = label_frames(maker.label, [frames[i] for i in evenly(n_frames, len(frames))], folder / "labels")
    there = [atoms for atoms in labelled if atoms is not None]
    for atoms in there:
        atoms.info["temperature"] = plan.temperature(int(atoms.info["step"]))
    models = {"first": chain.first_model(), "last": chain.last_model()}
    rows: Rows = []
    for part, mine in enumerate(np.array_split(np.arange(len(there)), parts)):
        about = {"part": part, "order": float(np.mean([order(there[i]) for i in mine])), "n_failed": len(failed)}
        rows += errors_on([there[i] for i in mine], models, about)
    return rows


def ladder(
    chain: CampaignChain,
    folder: Path,
    crystal: Mapping[str, Any],
    temperatures: Sequence[float],
    trials: int,
) -> Rows:
    """Order and energy at one temperature after another, by the first model, the last and the reference, with the same moves.

    Each run begins in order and goes on to the next temperature; the second half at each is averaged. ``order_error`` and
    ``energy_error`` are standard errors of means of five blocks. Energies are in meV per atom; ``off`` is the model's less the
    reference's, the mean over five frames of the model's own run.
    """
    maker = maker_of(chain[-1])
    right = reference_calculator(maker.label.labeller)
    calculators = {
        "first": chain.first_model().calculator(),
        "last": chain.last_model().calculator(),
        "reference": right,
    }
    plan = Plan([Stage("hold", float(temperature), steps=trials) for temperature in temperatures])
    rows: Rows = []
    for by, calculator in calculators.items():
        files = folder / f"ladder-{by}"
        result = md_segment(
            calculator,
            MDState.initial(build_structure(dict(crystal)), temperature=None, seed=1),
            schedule=plan,
            sampler=get_sampler(**maker.segment.sampler),
            check_interval=_INTERVAL,
            files=SegmentFiles(trajectory=files.with_suffix(".idf"), checkpoint=Checkpoint(files.with_suffix(".npz"))),
        )
        if result.reason != "schedule_end":
            raise SystemExit(f"the run by the {by} ended early: {result.detail or result.reason}")
        frames = list(Trajectory(files.with_suffix(".idf")))
        for number, temperature in enumerate(temperatures):
            first, end = (number + 0.5) * trials, (number + 1) * trials
            mine = [atoms for atoms in frames if first < int(atoms.info["step"]) <= end]
            orders, energies = [order(atoms) for atoms in mine], [atoms.info["energy"] for atoms in mine]
            row = {"by": by, "n_atoms": len(mine[0]), "temperature": float(temperature), "n_frames": len(mine)}
            row["order"], row["order_error"] = _mean(orders)
            row["energy"], row["energy_error"] = _mean(1e3 * np.array(energies) / len(mine[0]))
            if by != "reference":
                row["off"] = float(np.mean([_off(mine[i], right) for i in evenly(5, len(mine))]))
            rows.append(row)
    return rows


def _off(atoms: Atoms, reference: Any) -> float:
    """What a frame's stored energy is above the reference's, meV per atom."""
    copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, calculator=reference)
    return 1e3 * (float(atoms.info["energy"]) - float(copy.get_potential_energy())) / len(atoms)


def _mean(values: Any) -> tuple[float, float]:
    """Mean, and its standard error by the means of five blocks."""
    blocks = np.array([block.mean() for block in np.array_split(np.asarray(values, dtype=float), 5)])
    return float(np.mean(values)), float(blocks.std(ddof=1) / np.sqrt(len(blocks)))
