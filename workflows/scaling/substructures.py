"""Time of one substructure's label, and of finding it, in lithium frames of 100 to a million atoms, with GPAW.

    python workflows/scaling/substructures.py [--sizes 128 1024 ...] [--centres 2] [--out substructures.jsonl]

Every frame is a crystal displaced as at 300 K with one hot spot: atoms within 4 Å of a point are displaced three times as
far. The uncertainty knows small cells of the crystal. The most uncertain atoms of the spot are cropped, relaxed and
labelled with the label settings of the campaign in workflows/li_gpaw. One line is appended per label; what the file holds
is not computed again. One thread.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from lithium import balanced, config, labeller, lithium

from idealflow.core import SOAP, UncertaintyModel, crop_search, relax_shell, screen
from idealflow.labelling import AseLabeller, close_workers

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
WIDTH, HOT, RADIUS = 0.15, 0.45, 4.0  # Å: displacement per component, in the hot spot, and the spot's size


def frame_of(n_atoms: int, seed: int) -> Atoms:
    """The crystal with its hot spot in the middle."""
    counts = balanced(n_atoms)
    cold, still = lithium(counts, width=WIDTH, seed=seed), lithium(counts, width=0.0, seed=seed)
    middle = still.cell.sum(axis=0) / 2
    hot = np.linalg.norm(still.positions - middle, axis=1) < RADIUS
    cold.positions[hot] = lithium(counts, width=HOT, seed=seed).positions[hot]
    return cold


def known(settings: dict) -> UncertaintyModel:
    """The uncertainty that the crystal's small cells teach."""
    cells = [lithium((3, 3, 3), width=WIDTH, seed=100 + i) for i in range(40)]
    return UncertaintyModel.fit(cells, SOAP(["Li"], **settings["bootstrap"]["soap"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--centres", type=int, default=2, help="substructures per frame")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("substructures.jsonl"))
    arguments = parser.parse_args()
    settings, label = config(), labeller()
    uncertainty = known(settings)
    threshold = uncertainty.auto_threshold()
    reference = AseLabeller(label["calculator"], label["kwargs"], time_limit_s=None, reference=label["reference"])
    lines = arguments.out.read_text().splitlines() if arguments.out.exists() else []
    done = {(entry["n_atoms"], entry["rank"]) for entry in map(json.loads, lines)}
    reference.compute(lithium((1, 1, 1), width=WIDTH, seed=0))  # imports are no part of a label
    uncertainty(lithium((2, 2, 2), width=WIDTH, seed=0))  # nor is compilation part of a screen
    for size in arguments.sizes:
        frame = frame_of(size, seed=1)
        started = time.perf_counter()
        centres = screen(uncertainty, frame, threshold=threshold, max_centres=arguments.centres)
        screened = time.perf_counter() - started
        for rank, centre in enumerate(centres):
            if (len(frame), rank) in done:
                continue
            started = time.perf_counter()
            crops = crop_search(
                uncertainty,
                frame,
                centre,
                n_candidates=settings["crop"]["n_candidates"],
                rng=np.random.default_rng(rank),
                max_atoms=settings["crop"]["max_atoms"],
            )
            cropped = time.perf_counter() - started
            relaxed = relax_shell(uncertainty, crops[0], max_steps=settings["relax"]["max_steps"], cell=True)
            embedded = time.perf_counter() - started - cropped
            result = reference.compute(relaxed.atoms)
            entry = {
                "n_atoms": len(frame),
                "rank": rank,
                "n_sub": len(relaxed.atoms),
                "screen_s": screened,
                "crop_s": cropped,
                "relax_s": embedded,
                "label_s": result.seconds,
                "label_core_s": result.core_seconds,
                "uncertainty": float(crops[0].reference[crops[0].centre]),
                "method": result.method,
            }
            with arguments.out.open("a") as file:
                file.write(json.dumps(entry) + "\n")
            print(
                f"{len(frame):8d} atoms: screen {screened:6.1f} s, crop {cropped:5.1f} s, relax {embedded:5.1f} s, "
                f"label of {len(relaxed.atoms)} atoms {result.core_seconds:6.1f} core-seconds",
                flush=True,
            )
    close_workers()


if __name__ == "__main__":
    main()
