"""Events of iridium in nitrogen and hydrogen: molecules that react, come to the metal and leave it, and their pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.formula import Formula
from ase.geometry import find_mic

from idealflow.analysis import (
    BondRule,
    Molecule,
    ReactionEvent,
    adsorption_events,
    bonds_along,
    held_along,
    molecules_along,
    one_bond_each,
    reaction_events,
)
from idealflow.provenance import Campaign, CampaignChain
from workbench.melting import Rows

METAL = "Ir"
#: forming below, breaking above, Å
RULES = {
    ("N", "N"): BondRule(1.35, 1.75),
    ("H", "H"): BondRule(0.95, 1.35),
    ("H", "N"): BondRule(1.25, 1.60),
}
HELD = {("Ir", "N"): BondRule(2.30, 2.80), ("H", "Ir"): BondRule(2.00, 2.60)}
LASTING = 30.0  # fs that a change of bonds has to last, a molecule, and its being held by the metal
NAMES = {"HN": "NH", "H2N": "NH2", "H3N": "NH3"}  # of formulas in Hill's order
DRAWN = (
    "H2 dissociates", "N2 dissociates", "N2 forms", "NH forms", "NH2 forms", "NH3 forms", "H2 leaves the metal",
    "N2 leaves the metal",
)  # fmt: skip
LISTED = ("N2 dissociates", "NH3 forms", "NH3 leaves the metal")  # one by one, with their atoms
AROUND = 60.0  # fs before and after an event
VIEW = 5.0  # Å that a picture shows around it
COUNTED = ("H2", "N2", "NH", "NH2", "NH3", "H", "N")


class Course(NamedTuple):
    """Molecules of every frame, those of them that the metal holds, and frames that one waited for others at most."""

    molecules: list[tuple[Molecule, ...]]
    held: list[frozenset[Molecule]]
    waited: int


def course_in(frames: Sequence[Atoms]) -> Course:
    """Molecules in frames that are stored at equal times; what lasts less than :data:`LASTING` leaves no trace."""
    apart = frames[1].info["time_fs"] - frames[0].info["time_fs"] if len(frames) > 1 else LASTING
    persistence = max(1, ceil(LASTING / apart))
    symbols = frames[0].get_chemical_symbols()
    bonds = one_bond_each(symbols, bonds_along(frames, RULES, persistence), ["H"])
    molecules = molecules_along(symbols, bonds, [METAL], persistence)
    held = held_along(frames, molecules, HELD, [METAL], persistence)
    return Course(molecules, held, longest_wait(molecules, molecules_along(symbols, bonds, [METAL])))


def longest_wait(molecules: Sequence[Sequence[Molecule]], bonded: Sequence[Sequence[Molecule]]) -> int:
    """Frames in a row, at most, in which an atom is in another molecule than its bonds say.

    Examples
    --------
    >>> one, two = (Molecule((0, 1), "H2"),), (Molecule((0,), "H"), Molecule((1,), "H"))
    >>> longest_wait([one, one, one, two], [one, two, two, two])
    2
    """
    longest, waiting = 0, Counter[int]()
    for here, there in zip(molecules, bonded, strict=True):
        late = {atom for one in set(here) - set(there) for atom in one.atoms}
        waiting = Counter({atom: waiting[atom] + 1 for atom in late})
        longest = max(longest, *waiting.values(), 0)
    return longest


@cache
def course_of(campaign: Campaign) -> Course:
    """Molecules in every stored frame of a campaign."""
    return course_in(list(campaign.trajectory()))


def named(formula: str) -> str:
    """A formula as chemists write it; a star stays."""
    bare = formula.rstrip("*")
    return NAMES.get(bare, bare) + formula[len(bare) :]


def kinds_of(event: ReactionEvent) -> list[str]:
    """What happened in an event, in words; nothing that is counted, if the list is empty.

    Hydrogen has one bond, so two of its atoms in a molecule of nothing else are bound to each other, and nitrogen atoms of one
    molecule are.
    """
    before, after = (Counter(map(named, side)) for side in (event.reactants, event.products))
    if is_passage(event):
        name = next(iter(before)).rstrip("*")
        what = "leaves the metal" if f"{name}*" in before else "comes to the metal"
        return [f"{name} {what}"] if name in ("N2", "NH3", "H2", "NH2", "NH") else []
    kinds = []
    if before["H2"] != after["H2"]:
        kinds.append("H2 dissociates" if before["H2"] > after["H2"] else "H2 forms")
    joined = [sum(n * (nitrogen_in(name) // 2) for name, n in side.items()) for side in (before, after)]
    if joined[0] != joined[1]:
        kinds.append("N2 dissociates" if joined[0] > joined[1] else "N2 forms")
    elif before["N2"] != after["N2"]:
        kinds.append("N2 reacts undivided" if before["N2"] > after["N2"] else "N2 is released")
    kinds += [f"{name} forms" for name in ("NH", "NH2", "NH3") if after[name] > before[name]]
    kinds += [f"{name} breaks" for name in ("NH", "NH2", "NH3") if after[name] < before[name]]
    return kinds


def is_passage(event: ReactionEvent) -> bool:
    """Whether a molecule comes to the metal or leaves it, and nothing reacts."""
    return any(name.endswith("*") for name in (*event.reactants, *event.products))


def nitrogen_in(formula: str) -> int:
    """How many nitrogen atoms a formula has.

    Examples
    --------
    >>> nitrogen_in("HN2"), nitrogen_in("NH3")
    (2, 1)
    """
    return Formula(formula).count().get("N", 0)


def events(chain: CampaignChain) -> Rows:
    """Every event that has a name: campaign, step and time within it, names, molecules, and indices of their atoms.

    ``lasted_fs`` is the time until the next reaction of one of its atoms, or until the run's end; for a molecule that comes or
    goes also until it goes or comes.
    """
    rows: Rows = []
    for campaign in chain:
        frames, course = campaign.trajectory(), course_of(campaign)
        times = [float(atoms.info["time_fs"]) for atoms in frames]
        found = reaction_events(course.molecules) + adsorption_events(course.molecules, course.held)
        found.sort(key=lambda one: (one.frame, one.atoms))
        for event, end in zip(found, next_events(found, len(frames) - 1), strict=True):
            if not kinds_of(event):
                continue
            rows.append(
                {
                    "campaign": campaign.name,
                    "step": int(frames[event.frame].info["step"]),
                    "time_fs": times[event.frame],
                    "kinds": kinds_of(event),
                    "reactants": [named(each) for each in event.reactants],
                    "products": [named(each) for each in event.products],
                    "atoms": list(event.atoms),
                    "lasted_fs": times[end] - times[event.frame],
                }
            )
    return rows


def next_events(found: Sequence[ReactionEvent], last: int) -> list[int]:
    """For each event, in order, the frame of the next one of its atoms, else the last; to a reaction only reactions count."""
    reaction: dict[int, int] = {}  # the next one of each atom
    passage: dict[int, int] = {}
    ends: list[int] = []
    for event in reversed(found):
        known = [reaction, passage] if is_passage(event) else [reaction]
        ends.append(min(those.get(atom, last) for those in known for atom in event.atoms))
        known[-1].update(dict.fromkeys(event.atoms, event.frame))
    return ends[::-1]


def shortened(found: Rows) -> Rows:
    """The events of :data:`LISTED` one by one, and how many ``n`` of the same names each campaign had of the others."""
    rows = [row for row in found if set(row["kinds"]) & set(LISTED)]
    others = Counter((row["campaign"], tuple(row["kinds"])) for row in found if not set(row["kinds"]) & set(LISTED))
    return rows + [{"campaign": campaign, "kinds": list(kinds), "n": n} for (campaign, kinds), n in others.items()]


def waits(chain: CampaignChain) -> Rows:
    """How long a molecule of each campaign waited at most for others that changed with it and did not last yet."""
    rows: Rows = []
    for campaign in chain:
        frames = campaign.trajectory()
        apart = float(frames[1].info["time_fs"] - frames[0].info["time_fs"])
        rows.append({"campaign": campaign.name, "longest_fs": course_of(campaign).waited * apart})
    return rows


def snapshots(chain: CampaignChain, found: Rows) -> Rows:
    """Surroundings of the first event of each kind of :data:`DRAWN`: 60 fs before it, at it and 60 fs after."""
    rows: Rows = []
    for kind in DRAWN:
        event = next((row for row in found if kind in row["kinds"]), None)
        if event is not None:
            rows += [{"kind": kind} | row for row in moments(chain, event, (-AROUND, 0.0, AROUND))]
    return rows


def moments(chain: CampaignChain, event: dict[str, Any], shifts: Sequence[float]) -> Rows:
    """Surroundings of an event at so many femtoseconds before and after it, as far as there are frames.

    Positions are from the middle of the event's atoms, Å, the second axis away from the particle's middle; ``which`` are the
    places of the event's own atoms.
    """
    campaign = next(one for one in chain if one.name == event["campaign"])
    frames = campaign.trajectory()
    at = steps_of(campaign).index(event["step"])
    apart = frames[1].info["time_fs"] - frames[0].info["time_fs"]
    rows: Rows = []
    for shift in shifts:
        frame = frames[min(max(0, at + round(shift / apart)), len(frames) - 1)]
        about = {"campaign": campaign.name, "time_fs": float(frame.info["time_fs"])}
        rows.append(about | _surroundings(frame, event["atoms"]))
    return rows


@cache
def steps_of(campaign: Campaign) -> list[int]:
    """Steps of the stored frames of a campaign."""
    return [int(atoms.info["step"]) for atoms in campaign.trajectory()]


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
        frames, course = campaign.trajectory(), course_of(campaign)
        for number in range(0, len(frames), every):
            time = (start + frames[number].info["time_fs"]) / 1000.0
            about = {"campaign": campaign.name, "time_ps": float(time)}
            rows.append(about | counted(course.molecules[number]) | {"held": len(course.held[number])})
    return rows


def counted(molecules: Sequence[Molecule]) -> dict[str, int]:
    """Molecules by name, those of :data:`COUNTED` and ``others``."""
    names = [named(one.name) for one in molecules]
    found = Counter(name if name in COUNTED else "others" for name in names)
    return {name: found[name] for name in (*COUNTED, "others")}
