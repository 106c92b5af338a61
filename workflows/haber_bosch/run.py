"""Ammonia on iridium: dissolved nitrogen at 1 200 K, pure nitrogen at 7 000 K, production at 5 400 K; and what came of it.

    python workflows/haber_bosch/run.py quick|paper [--folder DIR] [--parts ...] [--no-run]

Makes the first set, runs the campaigns of `quick/` or `paper/` in a folder, or goes on with them, and measures them; what was
measured is kept in `results/quick.json` or `results/paper.json`, from which the page docs/systems/haber-bosch.md is made.
SevenNet 7net-0 stands in for DFT, at the paper's size with a repulsion at short range: run it in an environment with
`idealflow[sevennet]`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.io import read

from idealflow.forcefields.sevennet import sevennet_calculator
from idealflow.provenance import Campaign, CampaignChain
from idealflow.structures import particle
from idealflow.workflow.stages.evaluation import evenly
from workbench import adsorbates, ammonia, ammonia_events, first_sets, melting, oxides
from workbench.short_range import sevennet_repelled
from workbench.system_runs import chain_of, keep_measures, keep_reports, read_arguments

HERE = Path(__file__).parent
CHAIN = ("dissolved", "nitrogen", "production")
CAMPAIGNS = {"quick": CHAIN, "paper": (*CHAIN, "nanoparticle")}
PARTS = ("first-set", "ancestry", "course", "labels", "cells", "errors", "events", "bare", "energies", "reach")
COLD = 300.0  # K, at which energies of the steps are averaged


class Size(NamedTuple):
    """The reference; frames that it labels; the particle of the energies, its box open; steps of each of their runs."""

    reference: Callable[[], Calculator]
    frames: int
    length: int
    cut: int
    steps: int


SIZES = {
    "quick": Size(sevennet_calculator, 12, 4, 1, 3000),
    "paper": Size(sevennet_repelled, 20, 7, 2, 20000),
}


def drawn(campaign: Campaign, n_frames: int) -> list[Atoms]:
    """Frames of a campaign, evenly."""
    frames = campaign.trajectory()
    return [frames[i] for i in evenly(n_frames, len(frames))]


def main() -> None:
    arguments = read_arguments(HERE, "Haber-Bosch on a particle of iridium.", SIZES, PARTS, ["fits", "reports"])
    size = SIZES[arguments.size]
    folder = arguments.folder
    first = folder / "first-set.extxyz"
    if not arguments.no_run:
        first_sets.write_first_set(first, size.reference())
    chain = chain_of(HERE, arguments, CAMPAIGNS[arguments.size])
    body = particle("Ir", shape="octahedron", length=size.length, cut=size.cut, a=first_sets.LATTICE, fixed_core=3.0)

    def energies() -> dict[str, melting.Rows]:
        calculator, label = chain.last_model().calculator(), melting.maker_of(chain[-1]).label
        means = adsorbates.averages(calculator, label, body, COLD, size.steps, size.frames, folder / "energies")
        return {"means": means, "reactions": adsorbates.reaction_energies(means)}

    def events() -> dict[str, melting.Rows]:
        found = ammonia_events.events(chain)
        return {
            "events": ammonia_events.shortened(found),
            "snapshots": ammonia_events.snapshots(chain, found),
            "waits": ammonia_events.waits(chain),
        }

    measured = {
        "first-set": lambda: {
            "first_set": first_sets.contents(read(first, ":")),
            "triggering": first_sets.triggering(
                drawn(chain[0], size.frames), melting.maker_of(chain[0]).bootstrap.soap
            ),
        },
        "ancestry": lambda: {"ancestry": melting.ancestry(chain, folder), "refusals": oxides.refusals(chain)},
        "course": lambda: {"course": melting.course(chain, lambda *_: {}), "species": ammonia_events.species(chain)},
        "labels": lambda: {"labels": melting.labels(chain)},
        "cells": lambda: {"cells": ammonia.cells(chain)},
        "errors": lambda: {"errors": melting.errors(chain, folder, size.frames)},
        "events": events,
        "bare": lambda: ammonia.without_learning(CampaignChain(chain[: len(CHAIN)]), folder / "bare", size.frames),
        "energies": energies,
        "reach": lambda: {"reach": ammonia.reach(chain, folder, size.frames)},
        "fits": lambda: {"fits": ammonia.fits(chain, folder, size.frames)},
        "reports": lambda: keep_reports(chain, arguments),
    }
    keep_measures(arguments, measured)


if __name__ == "__main__":
    main()
