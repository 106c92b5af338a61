"""A run of the reference, its frames on disk, and the model that it begins with."""

from __future__ import annotations

from pathlib import Path

from ase import Atoms
from ase.io import read, write

from idealflow.forcefields import ForceField, get_force_field
from workbench.systems import System

CUTOFF = 5.0  # of the force field, Å
#: its radial functions, and how its updates end, as in all results that are stored: both were defaults then
N_RADIAL, POLISH_STEPS = 8, 12


def frames_of(system: System, seed: int, out: Path, asap: bool = False) -> list[Atoms]:
    """Labelled frames of the run; read from a file if a former call wrote them."""
    path = out / f"{system.name}-{seed}-frames.extxyz"
    if not path.exists():
        frames = []
        for frame in system.run(seed, asap):
            labelled = system.label(frame)
            labelled.info = dict(frame.info)
            frames.append(labelled)
        partial = path.with_suffix(".partial.extxyz")
        write(partial, frames)
        partial.rename(path)
    return list(read(path, ":"))


def learning_frames(frames: list[Atoms], n: int) -> list[Atoms]:
    """The frames that are screened: about `n` of every second one, spread over the run; the others are for the test."""
    return frames[::2][:: max(1, len(frames) // (2 * n))]


def first_model(system: System, known: list[Atoms], seed: int) -> ForceField:
    """The force field that knows only the small crystals."""
    settings = {
        "cutoff": CUTOFF,
        "n_radial": N_RADIAL,
        "polish_steps": POLISH_STEPS,
        "batch_size": system.batch_size,
    }
    model = get_force_field("local", species=list(system.species), **settings)
    model.fit(known, seed=seed)
    return model


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)
