"""What is a neutral cell worth? The same centres of hot alumina cut out with and without oxidation states.

    python workflows/al2o3/neutrality.py [--folder al2o3-gaussian/bulk] [--centres 8]

Of the campaign's frames at 9 000 K each gives its most uncertain atom. Around it the same search, with the same random
numbers, makes a cell that is neutral by oxidation states and one that is not asked to be; both are relaxed. The reference,
Matsui's model, gives the forces in each cell and in the whole frame. Writes `results/neutrality.json`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from idealflow.core import CropRules, Uncertainty, crop_search, embed
from idealflow.workflow.learner.version import load_uncertainty_artifact
from idealflow.workflow.stages.evaluation import evenly
from workbench.keeping import add_out, keep
from workbench.matsui import Matsui
from workbench.oxides import CHARGES, opened
from workbench.threads import one_thread

HERE = Path(__file__).parent
ARMS = {"neutral": dict(CHARGES), "not asked to be": None}
MAX_ATOMS, CANDIDATES, STEPS = 240, 20, 100  # as in the configs


def main() -> None:
    """Measure and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=Path("al2o3-gaussian/bulk"), help="a finished campaign of the bulk"
    )
    parser.add_argument("--centres", type=int, default=8)
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    campaign, last = opened(arguments.folder)
    u = load_uncertainty_artifact(campaign.artifacts, last)
    hot = [atoms for atoms in campaign.trajectory() if atoms.info["temperature"] > 5000.0]
    rows: list[dict[str, Any]] = []
    for place in evenly(arguments.centres, len(hot)):
        rows += around(u, hot[place], place)
    keep(arguments.out or HERE / "results" / "neutrality.json", neutrality=rows)


def around(u: Uncertainty, frame: Any, seed: int) -> list[dict[str, Any]]:
    """The cells of one frame's most uncertain atom, by arm: charge, and errors of their forces against the frame's, eV/Å."""
    atom = int(u(frame).argmax())
    whole = frame.copy()
    whole.calc = Matsui()
    right = whole.get_forces()
    rows = []
    for arm, states in ARMS.items():
        rules = CropRules(max_atoms=MAX_ATOMS, oxidation_states=states)
        crops = crop_search(u, frame, atom, CANDIDATES, np.random.default_rng(seed), rules=rules)
        relaxed = embed(u, crops, max_steps=STEPS)[0].relaxed
        for how, cell in (("as cut out", crops[0]), ("relaxed", relaxed)):
            atoms = cell.atoms.copy()
            atoms.calc = Matsui()
            apart = np.linalg.norm(atoms.get_forces() - right[cell.parent_indices], axis=1)
            rows.append(
                {
                    "arm": arm,
                    "how": how,
                    "step": int(frame.info["step"]),
                    "atom": atom,
                    "n_atoms": len(atoms),
                    "charge": float(sum(CHARGES[symbol] for symbol in atoms.symbols)),
                    "centre": float(apart[cell.centre]),
                    "core": float(apart[cell.core].mean()),
                    "force": float(np.linalg.norm(right[atom])),
                }
            )
    print(
        frame.info["step"],
        [(row["arm"], row["how"], row["charge"], round(row["centre"], 3)) for row in rows],
        flush=True,
    )
    return rows


if __name__ == "__main__":
    main()
