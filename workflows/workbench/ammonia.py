"""What is measured of iridium in nitrogen and hydrogen, beside what :mod:`workbench.melting` measures of any chain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.formula import Formula
from ase.geometry import find_mic

from idealflow.analysis import (
    BondRule,
    ReactionEvent,
    adsorption_events,
    bonds_along,
    molecules_of,
    reaction_events,
)
from idealflow.core.dynamics import Checkpoint, Limits, SegmentFiles, Trajectory, md_segment
from idealflow.forcefields import get_force_field
from idealflow.provenance import Campaign, CampaignChain
from idealflow.workflow.drivers.comparing import label_frames
from idealflow.workflow.jobs.keys import child_seed
from idealflow.workflow.stages.evaluation import evenly
from workbench.melting import Rows, maker_of

METAL = "Ir"
#: forming below, breaking above, Å
RULES = {
    ("N", "N"): BondRule(1.35, 1.75),
    ("H", "H"): BondRule(0.95, 1.35),
    ("H", "N"): BondRule(1.25, 1.60),
    ("Ir", "N"): BondRule(2.30, 2.80),
    ("H", "Ir"): BondRule(2.00, 2.60),
}
LASTING = 30.0  # fs that a change of bonds has to last
NAMES = {"HN": "NH", "H2N": "NH2", "H3N": "NH3"}  # of formulas in Hill's order
DRAWN = (
    "H2 dissociates", "N2 dissociates", "N2 forms", "NH forms", "NH2 forms", "NH3 forms", "H2 leaves the metal",
    "N2 leaves the metal",
)  # fmt: skip
LISTED = ("N2 dissociates", "NH3 forms", "NH3 leaves the metal")  # one by one, with their atoms
AROUND = 60.0  # fs before and after an event
VIEW = 5.0  # Å that a picture shows around it
COUNTED = ("H2", "N2", "NH", "NH2", "NH3", "H", "N")
#: force fields fitted from scratch to all labels of the chain
FITS: dict[str, dict[str, Any]] = {
    "last model": {},
    "fresh fit": {},
    "fresh fit, larger, 6 Å": {"cutoff": 6.0, "n_radial": 12, "n_channels": 16, "hidden": [64, 64], "fit_steps": 3000},
}
Bonds = list[frozenset[tuple[int, int]]]


def bonds_in(frames: Sequence[Atoms]) -> Bonds:
    """Bonds of frames that are stored at equal times, without those that last less than :data:`LASTING`."""
    apart = frames[1].info["time_fs"] - frames[0].info["time_fs"] if len(frames) > 1 else LASTING
    return bonds_along(frames, RULES, persistence=max(1, round(LASTING / apart)))


@cache
def bonds_of(campaign: Campaign) -> Bonds:
    """Bonds in every stored frame of a campaign."""
    return bonds_in(list(campaign.trajectory()))


def named(formula: str) -> str:
    """A formula as chemists write it; a star stays."""
    bare = formula.rstrip("*")
    return NAMES.get(bare, bare) + formula[len(bare) :]


def kinds_of(event: ReactionEvent) -> list[str]:
    """What happened in an event, in words; nothing that is counted, if the list is empty."""
    before, after = (Counter(map(named, side)) for side in (event.reactants, event.products))
    if any(name.endswith("*") for name in (*before, *after)):
        name = next(iter(before)).rstrip("*")
        what = "leaves the metal" if f"{name}*" in before else "comes to the metal"
        return [f"{name} {what}"] if name in ("N2", "NH3", "H2", "NH2", "NH") else []
    joined = [any(nitrogen_in(name) > 1 for name in side if name != "N2") for side in (before, after)]
    kinds = []
    for name in ("H2", "N2"):
        if before[name] > after[name]:
            kinds.append("N2 reacts undivided" if name == "N2" and joined[1] else f"{name} dissociates")
        if after[name] > before[name]:
            kinds.append("N2 is released" if name == "N2" and joined[0] else f"{name} forms")
    kinds += [f"{name} forms" for name in ("NH", "NH2", "NH3") if after[name] > before[name]]
    kinds += [f"{name} breaks" for name in ("NH", "NH2", "NH3") if after[name] < before[name]]
    return kinds


def nitrogen_in(formula: str) -> int:
    """How many nitrogen atoms a formula has.

    Examples
    --------
    >>> nitrogen_in("HN2"), nitrogen_in("NH3")
    (2, 1)
    """
    return Formula(formula).count().get("N", 0)


def events(chain: CampaignChain) -> Rows:
    """Every event that has a name: campaign, step and time within it, names, molecules, and indices of their atoms."""
    rows: Rows = []
    for campaign in chain:
        frames, bonds = campaign.trajectory(), bonds_of(campaign)
        symbols = frames[0].get_chemical_symbols()
        found = reaction_events(symbols, bonds, without=[METAL]) + adsorption_events(symbols, bonds, [METAL])
        for event in sorted(found, key=lambda one: (one.frame, one.atoms)):
            if not kinds_of(event):
                continue
            info = frames[event.frame].info
            rows.append(
                {
                    "campaign": campaign.name,
                    "step": int(info["step"]),
                    "time_fs": float(info["time_fs"]),
                    "kinds": kinds_of(event),
                    "reactants": [named(each) for each in event.reactants],
                    "products": [named(each) for each in event.products],
                    "atoms": list(event.atoms),
                }
            )
    return rows


def shortened(found: Rows) -> Rows:
    """The events of :data:`LISTED` one by one, and how many ``n`` of the same names each campaign had of the others."""
    rows = [row for row in found if set(row["kinds"]) & set(LISTED)]
    others = Counter((row["campaign"], tuple(row["kinds"])) for row in found if not set(row["kinds"]) & set(LISTED))
    return rows + [{"campaign": campaign, "kinds": list(kinds), "n": n} for (campaign, kinds), n in others.items()]


def snapshots(chain: CampaignChain, found: Rows) -> Rows:
    """Surroundings of the first event of each kind of :data:`DRAWN`: 60 fs before it, at it and 60 fs after, as far as stored.

    Positions are from the middle of the event's atoms, Å, the second axis away from the particle's middle; ``which`` are the
    places of the event's own atoms.
    """
    by_name = {campaign.name: campaign for campaign in chain}
    rows: Rows = []
    for kind in DRAWN:
        event = next((row for row in found if kind in row["kinds"]), None)
        if event is None:
            continue
        frames = by_name[event["campaign"]].trajectory()
        steps = [int(atoms.info["step"]) for atoms in frames]
        at = steps.index(event["step"])
        apart = frames[1].info["time_fs"] - frames[0].info["time_fs"]
        shift = round(AROUND / apart)
        for number in (max(0, at - shift), at, min(len(frames) - 1, at + shift)):
            about = {"kind": kind, "campaign": event["campaign"], "time_fs": float(frames[number].info["time_fs"])}
            rows.append(about | _surroundings(frames[number], event["atoms"]))
    return rows


def _surroundings(atoms: Atoms, event: Sequence[int]) -> dict[str, Any]:
    """Atoms near an event, turned so that the metal's middle is below."""
    first = atoms.positions[event[0]]
    vectors = find_mic(atoms.positions - first, atoms.cell, atoms.pbc)[0]
    vectors -= vectors[list(event)].mean(axis=0)
    metal = find_mic(vectors[atoms.symbols == METAL], atoms.cell, atoms.pbc)[0].mean(axis=0)
    up = -metal / np.linalg.norm(metal)
    side = np.cross(up, [0.0, 0.0, 1.0] if abs(up[2]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    turned = vectors @ np.array([side, up, np.cross(side, up)]).T
    near = np.flatnonzero(np.linalg.norm(vectors, axis=1) < VIEW)
    return {
        "symbols": [atoms.symbols[i] for i in near],
        "positions": [[round(float(x), 2) for x in turned[i]] for i in near],
        "which": [place for place, i in enumerate(near.tolist()) if i in set(event)],
    }


def species(chain: CampaignChain, every: int = 4) -> Rows:
    """How many molecules of each kind there are, in every so many stored frames; ``held`` are those on the metal."""
    rows: Rows = []
    for campaign, start in zip(chain, chain.ancestry()["chain_time_fs"], strict=True):
        frames, bonds = campaign.trajectory(), bonds_of(campaign)
        symbols = frames[0].get_chemical_symbols()
        for number in range(0, len(bonds), every):
            counts, held = counted(symbols, bonds[number])
            time = (start + frames[number].info["time_fs"]) / 1000.0
            rows.append({"campaign": campaign.name, "time_ps": float(time), **counts, "held": held})
    return rows


def counted(symbols: Sequence[str], bonds: Iterable[tuple[int, int]]) -> tuple[dict[str, int], int]:
    """Molecules by name, those of :data:`COUNTED` and ``others``; and how many of all are bound to the metal."""
    found: Counter[str] = Counter()
    pairs = list(bonds)
    on_metal = {i if symbols[j] == METAL else j for i, j in pairs if METAL in (symbols[i], symbols[j])}
    held = 0
    for molecule in molecules_of(symbols, pairs, [METAL]):
        formula = Atoms([symbols[i] for i in molecule]).get_chemical_formula("hill")
        found[named(formula) if named(formula) in COUNTED else "others"] += 1
        held += not on_metal.isdisjoint(molecule)
    return {name: found[name] for name in (*COUNTED, "others")}, held


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
