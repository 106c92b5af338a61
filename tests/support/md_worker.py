"""Cheap exact potentials for the dynamics tests, and a segment to be killed: `python md_worker.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.neighborlist import NeighborList

from idealflow.core.dynamics import (
    CheckOutcome,
    Checkpoint,
    MDState,
    Schedule,
    SegmentResult,
    Stage,
    md_segment,
)


class ExactEMT(EMT):
    """EMT without the skin of its neighbour list: a pure function of the frame."""

    def initialize(self, atoms):
        super().initialize(atoms)
        cutoffs = [0.5 * self.rc_list] * len(atoms)
        self.nl = NeighborList(cutoffs, skin=0.0, self_interaction=False, bothways=True)


class Springs(Calculator):
    """Every atom on a spring to its site: E = k/2 Σ|r − r0|², optionally K/2 (V − V0)²/V0; exact averages known."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012 - ase's protocol

    def __init__(self, sites, k=1.0, bulk_modulus=0.0, volume=1.0):
        super().__init__()
        self.sites, self.k, self.bulk_modulus, self.volume = np.array(sites), k, bulk_modulus, volume
        self.calls = 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        shift = self.atoms.positions - self.sites
        energy, stress = 0.5 * self.k * float((shift**2).sum()), np.zeros(6)
        if self.bulk_modulus:
            strain = (self.atoms.get_volume() - self.volume) / self.volume
            energy += 0.5 * self.bulk_modulus * self.volume * strain**2
            stress[:3] = self.bulk_modulus * strain
        self.results = {"energy": energy, "forces": -self.k * shift, "stress": stress}


def copper(repeat=2, rattle=0.05):
    """Small fcc Cu cell, slightly disordered."""
    atoms = bulk("Cu", cubic=True) * (repeat, repeat, repeat)
    atoms.rattle(rattle, seed=1)
    return atoms


SCHEDULE = Schedule([Stage("hold", 300.0, steps=60), Stage("ramp", 300.0, 900.0, steps=200)])


def widest(atoms, step):
    """Stand-in for a screen: a pure function of the frame that never stops."""
    return CheckOutcome(stop=False, max_uncertainty=float(np.abs(atoms.positions).max()))


def segment_with_checkpoints(folder: Path, **options) -> SegmentResult:
    """260 steps of 32 atoms, saved every 20."""
    return md_segment(
        ExactEMT(),
        MDState.initial(copper(), 300.0, seed=[5, 0]),
        schedule=SCHEDULE,
        check_interval=5,
        check=widest,
        trajectory=folder / "md.trj",
        trajectory_interval=2,
        checkpoint=Checkpoint(folder / "md.checkpoint", interval=20, key="model 1"),
        **options,
    )


if __name__ == "__main__":
    segment_with_checkpoints(Path(sys.argv[1]))
