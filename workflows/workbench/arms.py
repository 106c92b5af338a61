"""One centre, every arm of the ablation: what of the frame is given to the reference to label."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms

from idealflow.core import (
    SOAP,
    Crop,
    CropSearch,
    Objective,
    Relaxed,
    UncertaintyModel,
    crop_search,
    embed,
    relax_shell,
    screen,
    vacuum_crop,
)
from idealflow.core.cropping.assembly import Assembled
from idealflow.core.cropping.build import FrameValues, build
from idealflow.core.cropping.contacts import select
from idealflow.core.cropping.proposals import aligned_box
from idealflow.core.cropping.rules import CropWeights, check_widths
from idealflow.core.cropping.search import CORNER_FACTOR
from idealflow.core.cropping.surroundings import survey
from workbench.systems import System

N_CANDIDATES = 50
#: name in the tables of each arm: the paper's three, its baselines, and the questions to decide
ARMS = {
    "vacuum": "vacuum crop χ",
    "crop": "unrelaxed crop χ̃",
    "paper": "positions only, mean (the paper's χ̃*)",
    "ides": "substructure χ̃* (ours)",
    "frame": "whole frame",
    "ides-mean": "χ̃* on the plain mean",
    "ides-log": "χ̃* on the log-hinge",
    "ides-one": "χ̃*, shell above 1",
    "ides-masked": "χ̃*, shell forces masked",
    "crop-plain": "χ̃, plain boxes with what is in them",
}


@dataclass(frozen=True)
class Structure:
    """What one arm would label around one centre.

    Attributes
    ----------
    atoms : the cell
    core : (n,) bool
    parents : (n,) index in the frame of each atom
    centre : index in `atoms`
    shell_mean, shell_max : uncertainty of the shell
    shell_over_frame : mean over the shell of the uncertainty over max(1, its value in the frame)
    volume_error : excess of the volume per atom over the frame's around the centre, a fraction
    core_worsening : largest ratio, over the core, of the uncertainty to its value in the frame (at least 1)
    composition_error : fraction of atoms of the wrong species
    search_s, relax_s : CPU seconds
    note : how it ended
    """

    atoms: Atoms
    core: np.ndarray
    parents: np.ndarray
    centre: int
    shell_mean: float
    shell_max: float
    shell_over_frame: float
    volume_error: float
    core_worsening: float
    composition_error: float
    search_s: float
    relax_s: float
    note: str


@dataclass(frozen=True)
class Place:
    """One centre: a frame of the run, an atom, and what each arm makes of it."""

    frame: int
    atom: int
    uncertainty: float
    arms: dict[str, Structure]


def over_frame(crop: Crop, values: np.ndarray) -> float:
    """Mean over the shell (over all atoms of a crop without one) of the uncertainty over max(1, its value in the frame)."""
    return float((values / crop.in_frame)[crop.shell if crop.shell.any() else crop.core].mean())


def from_crop(crop: Crop, search_s: float = 0.0, note: str = "") -> Structure:
    """A crop as it is."""
    return Structure(
        crop.atoms, crop.core, crop.parent_indices, crop.centre, crop.uncertainty, crop.uncertainty_max,
        over_frame(crop, crop.values), crop.volume_error, crop.core_worsening, crop.composition_error, search_s, 0.0,
        note or crop.cell_kind,
    )  # fmt: skip


def from_relaxed(crop: Crop, relaxed: Relaxed, search_s: float, relax_s: float) -> Structure:
    """A crop after its relaxation."""
    shell = relaxed.values[~relaxed.core] if not relaxed.core.all() else relaxed.values
    return Structure(
        relaxed.atoms, relaxed.core, relaxed.parent_indices, relaxed.centre, relaxed.uncertainty_after,
        float(shell.max()), over_frame(crop, relaxed.values), replace(crop, atoms=relaxed.atoms).volume_error,
        relaxed.core_worsening, crop.composition_error, search_s, relax_s, relaxed.reason,
    )  # fmt: skip


def plain_crop(u: UncertaintyModel, frame: Atoms, atom: int, rng: np.random.Generator) -> Crop:
    """Of as many random boxes along the Cartesian axes the one whose shell is best known, with the atoms that lie in it.

    Nothing is done where the structure meets itself: atoms may touch, the composition and the charge are what they are.
    """
    low, high = check_widths(None, u.cutoff)
    sur = survey(frame, atom, u.cutoff, CORNER_FACTOR * (high - u.cutoff) + u.cutoff)
    values = FrameValues(u, frame)
    drawn = [aligned_box(sur, np.eye(3), "cartesian", (low, high), rng) for _ in range(N_CANDIDATES)]
    plain = CropWeights(composition_weight=0.0, volume_weight=0.0, size_weight=0.0)  # sorted by the uncertainty alone
    crops = [build(u, sur, Assembled(box, select(sur, box), {}), values, plain) for box in drawn if box]
    return min(crops, key=lambda one: one.uncertainty)


def crops_around(system: System, u: UncertaintyModel, frame: Atoms, atom: int, seed: int) -> CropSearch:
    """The crops of one centre, best first; small frames are cropped too."""
    return crop_search(
        u,
        frame,
        atom,
        n_candidates=N_CANDIDATES,
        rng=np.random.default_rng([seed, atom]),
        max_atoms=system.max_atoms,
        oxidation_states=system.oxidation_states,
        whole_if_small=False,
    )


def structures(
    system: System, u: UncertaintyModel, frame: Atoms, atom: int, arms: list[str], seed: int
) -> dict[str, Structure]:
    """What each arm makes of one centre; whole frames are left to the caller."""
    started = time.process_time()
    crops = crops_around(system, u, frame, atom, seed)
    search_s = time.process_time() - started
    made: dict[str, Structure] = {}
    if "vacuum" in arms:
        made["vacuum"] = from_crop(vacuum_crop(u, frame, atom))
    if "crop" in arms:
        made["crop"] = from_crop(crops[0], search_s)
    if "crop-plain" in arms:
        started = time.process_time()
        plain = plain_crop(u, frame, atom, np.random.default_rng([seed, atom]))
        made["crop-plain"] = from_crop(plain, time.process_time() - started)
    if "paper" in arms:
        started = time.process_time()
        relaxed = relax_shell(u, crops[0], max_steps=300, cell=False, objective="mean")
        made["paper"] = from_relaxed(crops[0], relaxed, search_s, time.process_time() - started)
    objectives: dict[str, Objective] = {
        "ides": "frame-hinge",
        "ides-one": "hinge",
        "ides-mean": "mean",
        "ides-log": "log-hinge",
    }
    for arm, objective in objectives.items():
        if arm in arms or arm == "ides":  # what a campaign's distribution goes on with
            started = time.process_time()
            best = embed(u, crops, objective=objective)[0]
            made[arm] = from_relaxed(best.crop, best.relaxed, search_s, time.process_time() - started)
    if "ides-masked" in arms:
        made["ides-masked"] = made["ides"]
    return made


def substructure_figures(
    crop: Crop, values: np.ndarray, atoms: Atoms, there: float, seconds: float, note: str
) -> dict[str, Any]:
    """What is kept of one substructure; `there` is the centre's uncertainty in the frame."""
    ended = replace(crop, atoms=atoms, values=values)
    return {
        "n_atoms": len(atoms),
        "shell_mean": ended.uncertainty,
        "shell_max": ended.uncertainty_max,
        "shell_over_frame": over_frame(crop, values),
        "volume_error": abs(ended.volume_error),
        "core_worsening": ended.core_worsening,
        "centre": there,
        "centre_change": abs(float(values[crop.centre]) / there - 1.0),
        "composition_error": crop.composition_error,
        "seconds": seconds,
        "note": note,
    }


def first_distribution(system: System, known: list[Atoms]) -> UncertaintyModel:
    """What the first model knows."""
    return UncertaintyModel.fit(known, SOAP(species=list(system.species), **system.soap))


def spread_centres(u: UncertaintyModel, frames: list[Atoms], n: int, per_frame: int) -> list[tuple[int, int]]:
    """Some `n` centres (frame, atom) of frames spread over those that trigger, at most `per_frame` of each."""
    threshold = u.auto_threshold()
    triggering = [
        (index, centres)
        for index, frame in enumerate(frames)
        if len(centres := screen(u, frame, threshold, max_centres=per_frame))
    ]
    if not triggering:
        return []
    chosen = np.unique(np.linspace(0, len(triggering) - 1, min(n // per_frame, len(triggering))).astype(int))
    return [(triggering[k][0], int(atom)) for k in chosen for atom in triggering[k][1]]


def campaign_places(
    system: System,
    u: UncertaintyModel,
    frames: list[Atoms],
    n: int,
    arms: list[str],
    seed: int,
    per_frame: int = 2,
    join: str = "all",
    threshold: float | None = None,
) -> tuple[list[Place], int]:
    """Centres as a campaign meets them: screen, embed, let the substructures join the distribution, go on.

    Only the distribution learns here. `join` says what of a substructure joins it: "all" its atoms, or its "core".
    `threshold` is the automatic one of `u`, if none is given.

    Returns
    -------
    tuple
        The places, at most `n`, and how many frames were gone through.
    """
    u = u.copy()
    threshold = u.auto_threshold() if threshold is None else threshold
    places: list[Place] = []
    for index, frame in enumerate(frames):
        centres = screen(u, frame, threshold, max_centres=min(per_frame, n - len(places)))
        met = [place(system, u, frames, index, int(atom), arms, seed) for atom in centres]
        if met:
            cells = [one.arms["ides"] for one in met]
            u.update([one.atoms for one in cells], [one.core for one in cells] if join == "core" else None)
            u.cover(frame, [one.atom for one in met])
            places += met
        if len(places) >= n:
            return places, index + 1
    return places, len(frames)


def place(
    system: System, u: UncertaintyModel, frames: list[Atoms], index: int, atom: int, arms: list[str], seed: int
) -> Place:
    """One centre with its arms."""
    value = float(u(frames[index], [atom])[0])
    return Place(index, atom, value, structures(system, u, frames[index], atom, arms, seed))
