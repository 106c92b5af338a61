"""What is measured of iridium in nitrogen and hydrogen, beside what :mod:`workbench.melting` measures of any chain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from idealflow.core.dynamics import Checkpoint, Limits, SegmentFiles, Trajectory, md_segment
from idealflow.forcefields import get_force_field
from idealflow.provenance import CampaignChain
from idealflow.workflow.drivers.comparing import label_frames
from idealflow.workflow.jobs.keys import child_seed
from idealflow.workflow.stages.evaluation import evenly
from workbench.ammonia_events import METAL
from workbench.melting import Rows, maker_of

#: force fields fitted from scratch to all labels of the chain
FITS: dict[str, dict[str, Any]] = {
    "last model": {},
    "fresh fit": {},
    "fresh fit, larger, 6 Å": {"cutoff": 6.0, "n_radial": 12, "n_channels": 16, "hidden": [64, 64], "fit_steps": 3000},
}


def cells(chain: CampaignChain) -> Rows:
    """The cells that were labelled on the way: when, around what, how new the centre was, and what the cell holds."""
    rows: Rows = []
    for campaign in chain:
        threshold, table = campaign.state().threshold, campaign.table()
        news = {(row["step"], row["atom"]): row["uncertainty"] / threshold for row in table.to_dict("records")}
        for doc in campaign.substructures(state="accepted"):
            atoms = campaign.labelled(doc)
            counts = {symbol: int((atoms.symbols == symbol).sum()) for symbol in (METAL, "N", "H")}
            about = {"centre": doc.species, "ratio": news[doc.step, doc.atom]}
            rows.append({"campaign": campaign.name, "step": doc.step, "atom": doc.atom, **about, **counts})
    return rows


def without_learning(chain: CampaignChain, folder: Path, n_frames: int) -> dict[str, Rows]:
    """Each campaign's start once more, same positions, velocities and random numbers, by models that do not learn.

    The chain's first model and its last one each move the atoms to the schedule's end, or until a force is beyond what the
    campaign allows. Returned are a row for each run, and errors of energies on frames of all runs, the campaign's own among
    them: there the energy is that of the model which moved the frame.
    """
    runs: Rows = []
    points: Rows = []
    for campaign in chain:
        maker, frames = maker_of(campaign), campaign.trajectory()
        logged = {int(row["step"]): row["potential_energy"] for row in campaign.log().to_dict("records")}
        own = [atoms for atoms in frames if int(atoms.info["step"]) in logged]
        energies = [logged[int(atoms.info["step"])] for atoms in own]
        last = frames[-1].info
        runs.append(
            {"campaign": campaign.name, "by": "learning", "step": int(last["step"]), "reason": "", "detail": ""}
        )
        points += _errors_along(maker, campaign.name, "learning", own, energies, n_frames, folder)
        for by, model in (("first", chain.first_model()), ("last", chain.last_model())):
            start = frames[0].copy()
            state = maker.segment.initial_state(start, child_seed(maker.seed, 0, 0))
            file = folder / f"{campaign.name}-{by}.idf"
            result = md_segment(
                model.calculator(),
                state,
                schedule=maker.segment.plan(),
                sampler=maker.segment.dynamics(),
                check_interval=maker.segment.check_interval,
                limits=Limits(maker.segment.max_force, maker.segment.max_temperature),
                files=SegmentFiles(trajectory=file, checkpoint=Checkpoint(file.with_suffix(".npz"))),
            )
            step = int(result.suspect_frames[-1].info["step"]) if result.suspect_frames else result.state.step
            about = {"campaign": campaign.name, "by": by, "step": step}
            runs.append(about | {"reason": result.reason, "detail": result.detail})
            stored = list(Trajectory(file))
            values = [atoms.info["energy"] for atoms in stored]
            points += _errors_along(maker, campaign.name, by, stored, values, n_frames, folder)
    return {"bare": runs, "bare_errors": points}


def _errors_along(
    maker: Any, campaign: str, by: str, frames: Sequence[Atoms], energies: Sequence[float], n_frames: int, folder: Path
) -> Rows:
    """Energy that moved a frame less the reference's, meV/atom, and the largest force of the reference, eV/Å."""
    drawn = evenly(n_frames, len(frames))
    labelled, _ = label_frames(maker.label, [frames[i] for i in drawn], folder / "labels")
    rows: Rows = []
    for number, right in zip(drawn, labelled, strict=True):
        if right is None:
            continue
        off = 1e3 * (energies[number] - right.get_potential_energy()) / len(right)
        largest = float(np.linalg.norm(right.get_forces(), axis=1).max())
        step = int(frames[number].info["step"])
        rows.append({"campaign": campaign, "by": by, "step": step, "energy_error": off, "largest_force": largest})
    return rows


def reach(chain: CampaignChain, folder: Path, n_cells: int) -> Rows:
    """How far the reference sees beyond what a cell keeps: its forces on core atoms in labelled cells, and in the whole frames.

    The core, all that the uncertainty and the force field see of the centre, is the same in both. ``centre`` is the length of the
    difference on the centre, ``core`` the mean absolute difference of components on all core atoms, both eV/Å.
    """
    rows: Rows = []
    for campaign in chain:
        by_step = {int(atoms.info["step"]): atoms for atoms in campaign.trajectory()}
        docs = [doc for doc in campaign.substructures(state="accepted") if doc.step in by_step]
        docs = [docs[i] for i in evenly(n_cells, len(docs))]
        label = maker_of(campaign).label
        labelled, _ = label_frames(label, [by_step[doc.step] for doc in docs], folder / "labels")
        for doc, frame in zip(docs, labelled, strict=True):
            if frame is None:
                continue
            in_frame = frame.get_forces()[np.array(doc.parent_indices)[doc.core]]
            apart = campaign.labelled(doc).get_forces()[doc.core] - in_frame
            row = {"campaign": campaign.name, "step": doc.step, "atom": doc.atom}
            centre = float(np.linalg.norm(apart[doc.core.index(doc.centre)]))
            rows.append(row | {"centre": centre, "core": float(np.abs(apart).mean())})
    return rows


def fits(chain: CampaignChain, folder: Path, n_frames: int) -> Rows:
    """Errors of the last model, and of fits from scratch to the same labels, on those labels and on frames of each campaign."""
    known = chain[-1].dataset()
    sets = {"labels": known}
    for campaign in chain:
        frames, label = campaign.trajectory(), maker_of(campaign).label
        labelled, _ = label_frames(label, [frames[i] for i in evenly(n_frames, len(frames))], folder / "labels")
        sets[campaign.name] = [atoms for atoms in labelled if atoms is not None]
    rows: Rows = []
    for name, settings in FITS.items():
        model = chain.last_model()
        if name != "last model":
            model = get_force_field("local", species=model.species, **settings)
            model.fit(known, seed=1)
        for where, frames in sets.items():
            errors = 1e3 * model.errors(frames).mean(axis=0)
            row = {"fit": name, "frames": where, "energy": float(errors[0]), "force": float(errors[1])}
            rows.append(row)
    return rows
