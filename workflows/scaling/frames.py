"""Label time of whole lithium frames against their size, with GPAW at the Γ point.

    python workflows/scaling/frames.py [--sizes 16 24 ...] [--repeats 2] [--out frames.jsonl]

Appends one line per label as it is measured, so that a run can be cut short and taken up again: sizes that are in the
file are not computed a second time. One thread. Frames of 250 atoms and more have Γ alone at the campaign's density of
k points too; smaller ones would have more, so that their times here are those of the ladder, not of a label.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lithium import balanced, labeller, lithium

from idealflow.labelling import AseLabeller, close_workers

SIZES = (16, 24, 36, 54, 72, 96, 128, 160, 200, 250)
WIDTH = 0.15  # Å per component: about 300 K


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument(
        "--repeats", type=int, default=2, help="labels per size, each of another frame; one above 100 atoms"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("frames.jsonl"))
    arguments = parser.parse_args()
    settings = labeller()
    kwargs = settings["kwargs"] | {"kpts": {"size": [1, 1, 1]}}
    reference = AseLabeller(settings["calculator"], kwargs, time_limit_s=None, reference=f"{settings['reference']}, Γ")
    known = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.exists() else []
    done = {(entry["n_atoms"], entry["seed"]) for entry in known}
    reference.compute(lithium((1, 1, 1), width=WIDTH, seed=0))  # imports are no part of a label
    for size in arguments.sizes:
        for seed in range(arguments.repeats if size <= 100 else 1):
            frame = lithium(balanced(size), width=WIDTH, seed=seed)
            if (len(frame), seed) in done:
                continue
            label = reference.compute(frame)
            entry = {
                "n_atoms": len(frame),
                "seed": seed,
                "seconds": label.seconds,
                "core_seconds": label.core_seconds,
                "energy_per_atom": label.energy / len(frame),
                "method": label.method,
            }
            with arguments.out.open("a") as file:
                file.write(json.dumps(entry) + "\n")
            print(
                f"{len(frame):5d} atoms  {label.core_seconds:9.1f} core-seconds  {label.energy / len(frame):9.4f} eV/atom",
                flush=True,
            )
    close_workers()


if __name__ == "__main__":
    main()
