"""What is measured of a polycrystal that melts: how much of each depth below the boundaries of its grains is still crystal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from idealflow.analysis import local_phases, rdf
from idealflow.core.dynamics import (
    Checkpoint,
    MDState,
    Schedule,
    SegmentFiles,
    Stage,
    Trajectory,
    get_sampler,
    md_segment,
)
from idealflow.forcefields import get_force_field
from idealflow.provenance import CampaignChain
from idealflow.workflow.drivers.comparing import label_frames
from idealflow.workflow.stages.evaluation import evenly
from workbench.melting import Rows, course, errors_on, maker_of

DEPTHS = (0.0, 3.0, 6.0, np.inf)  # Å below a boundary


def depths(atoms: Atoms, phase: str = "bcc") -> NDArray[np.float64]:
    """Distance of each atom to the nearest one that is in no crystal of a phase, Å; (n,)."""
    edges = atoms.cell.lengths()
    inside = np.mod(atoms.positions, edges)
    inside[inside >= edges] = 0.0
    between = local_phases(atoms) != phase
    if not between.any():
        raise SystemExit(f"every atom is in {phase}: there is no boundary")
    found: NDArray[np.float64] = cKDTree(inside[between], boxsize=edges).query(inside)[0]
    return found


def parts_of(deep: NDArray[np.float64]) -> list[NDArray[np.bool_]]:
    """Which atoms are in each range of :data:`DEPTHS`, by their depths."""
    return [(deep >= low) & (deep < high) for low, high in pairwise(DEPTHS)]


def melting(chain: CampaignChain, phase: str = "bcc") -> Rows:
    """The course of the run, with the share of atoms in the phase: of all, and by how deep in a grain they were at rest.

    At rest is the last frame of the first stage of the schedule.
    """
    deep = depths(at_rest(chain), phase)
    parts = parts_of(deep)

    def shares(atoms: Atoms, _first: Atoms) -> dict[str, Any]:
        solid = local_phases(atoms) == phase
        return {
            "crystal": float(solid.mean()),
            **{f"depth_{n}": float(solid[mine].mean()) for n, mine in enumerate(parts)},
        }

    return course(chain, shares)


def slices(chain: CampaignChain, thick: float = 4.0, phase: str = "bcc") -> Rows:
    """The atoms of the lowest layer, so many Å thick, of the first and the last stored frame: in the phase, in none, labelled.

    Labelled are the centres of all labels of the run that stand in the layer. Lists of (x, y), Å.
    """
    campaign = chain[-1]
    frames, asked = campaign.trajectory(), campaign.substructures(state="accepted")
    rows: Rows = []
    for atoms in (frames[0], frames[-1]):
        step = int(atoms.info["step"])
        about = {"step": step, "time_fs": float(atoms.info["time_fs"])}
        rows.append(about | layer(atoms, thick, phase, [doc.atom for doc in asked if doc.step <= step]))
    return rows


def curves(chain: CampaignChain) -> Rows:
    """Radial distribution functions of the run by its own models: at rest, half a picosecond into the hold, and at the end."""
    campaign = chain[-1]
    frames, plan = campaign.trajectory(), maker_of(campaign).segment.plan()
    rests, heated = plan.stages[0].steps, sum(stage.steps for stage in plan.stages[:-1])
    steps = [int(atoms.info["step"]) for atoms in frames]
    parts = {
        "rest": [n for n, step in enumerate(steps) if step <= rests][-5:],
        "melting": [n for n, step in enumerate(steps) if heated < step <= heated + 500],
        "end": list(range(len(frames)))[-20:],
    }
    found = {name: rdf([frames[n] for n in which], r_max=8.0, n_bins=160) for name, which in parts.items()}
    radii = found["rest"].r
    return [{"r": float(r)} | {name: float(one.g[n]) for name, one in found.items()} for n, r in enumerate(radii)]


def layer(atoms: Atoms, thick: float = 4.0, phase: str = "bcc", labelled: Sequence[int] = ()) -> dict[str, Any]:
    """Places (x, y), Å, of the atoms of the lowest layer, so many Å thick: in the phase, in none, labelled ones."""
    inside = np.mod(atoms.positions, atoms.cell.lengths())
    low, solid = inside[:, 2] < thick, local_phases(atoms) == phase
    centres = [atom for atom in labelled if low[atom]]
    sorts = (("crystal", low & solid), ("other", low & ~solid), ("labelled", centres))
    return {name: np.round(inside[which][:, :2], 1).tolist() for name, which in sorts}


def middle(chain: CampaignChain, reference: Calculator, edge: float = 50.0, margin: float = 11.0) -> Rows:
    """Force errors of the first and the last model on the atoms of a cube in the middle of the last stored frame, meV/Å.

    The frame may be too large for the reference. Forces of one and of the models depend on what is twice their cutoffs away, so
    that they are cut out with the cube, and those of the atoms in the cube are those of the frame.
    """
    frame = chain[-1].trajectory()[-1]
    apart = np.abs(np.mod(frame.positions, frame.cell.lengths()) - frame.cell.lengths() / 2).max(axis=1)
    part = frame[apart < edge / 2 + margin]
    part.set_constraint()
    part.pbc = False
    inner = apart[apart < edge / 2 + margin] < edge / 2
    forces = {}
    models = {"first": chain.first_model().calculator(), "last": chain.last_model().calculator()}
    for name, calculator in {"reference": reference, **models}.items():
        part.calc = calculator
        forces[name] = 1e3 * part.get_forces()[inner]
    size = float(np.sqrt((forces["reference"] ** 2).mean()))
    about = {"step": int(frame.info["step"]), "n_atoms": int(inner.sum()), "force_rms": size}
    return [
        about | {"model": name, "force_mae": float(np.abs(forces[name] - forces["reference"]).mean())}
        for name in models
    ]


def reduced(chain: CampaignChain, folder: Path, n_frames: int, seed: int = 0) -> Rows:
    """Errors on frames of the run of a reduced M3GNet, fitted from scratch to all that was labelled, beside the last model's.

    Where the run stored fewer frames, there are more of :func:`melted_again`. Labels of frames are kept in the folder, where
    :func:`workbench.melting.errors` has them too.
    """
    campaign = chain[-1]
    structures = campaign.dataset()
    network = get_force_field("m3gnet-small", species=sorted(set(structures[0].get_chemical_symbols())))
    network.fit(structures, seed=seed)
    frames = campaign.trajectory()
    drawn = [frames[i] for i in evenly(n_frames, len(frames))]
    again = melted_again(chain, folder, n_frames - len(drawn))
    labelled, failed = label_frames(maker_of(campaign).label, [*drawn, *again], folder / "labels")
    about = {"campaign": campaign.name, "n_structures": len(structures), "n_failed": len(failed), "n_again": len(again)}
    models = {"last": chain.last_model(), "reduced": network}
    return errors_on([atoms for atoms in labelled if atoms is not None], models, about)


def melted_again(chain: CampaignChain, folder: Path, n_frames: int, interval: int = 40) -> list[Atoms]:
    """So many frames, some steps apart, of the same melting by the last model without learning; an interrupted run goes on.

    It begins with the last frame of the first stage of the schedule, at rest, and has other random forces than the campaign.
    """
    if n_frames == 0:
        return []
    _, *between, end = maker_of(chain[-1]).segment.plan().stages
    held = replace(end, steps=n_frames * interval - sum(stage.steps for stage in between))
    start = MDState.initial(at_rest(chain), temperature=None, seed=1)
    return list(moved(chain, folder / "again", start, [*between, held], interval))[1:]


def moved(
    chain: CampaignChain, files: Path, start: MDState, stages: Sequence[Stage], interval: int, stored: str = "exact"
) -> Trajectory:
    """Frames of a run by the last model without learning, so many steps apart, by the campaign's sampler."""
    result = md_segment(
        chain.last_model().calculator(),
        start,
        schedule=Schedule(stages),
        sampler=get_sampler(**maker_of(chain[-1]).segment.sampler),
        check_interval=interval,
        files=SegmentFiles(
            trajectory=files.with_suffix(".idf"),
            trajectory_format=stored,
            checkpoint=Checkpoint(files.with_suffix(".npz")),
        ),
    )
    if result.reason != "schedule_end":
        raise SystemExit(f"{files.name}, by the last model, ended early: {result.detail or result.reason}")
    return Trajectory(files.with_suffix(".idf"))


def at_rest(chain: CampaignChain) -> Atoms:
    """The last stored frame of the first stage of the schedule."""
    rests = maker_of(chain[-1]).segment.schedule[0]["steps"]
    frames = (atoms for atoms in chain[-1].trajectory() if int(atoms.info["step"]) <= rests)
    return max(frames, key=lambda atoms: int(atoms.info["step"]))
