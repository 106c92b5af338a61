"""Where the demo's time goes, stage by stage, and what less learning would save and cost.

    python workflows/benchmarks/stage_shares.py [--ways default ...] [--out workflows/benchmarks/results/stage_shares.json]

The campaign of `make demo` (499 copper atoms, ASE's EMT standing in for DFT) in one process with one thread, as it is and with
less training. Shares are of the seconds that stages after the bootstrap report; errors are those of the last model on whole
frames of the run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from idealflow import Campaign
from workbench.keeping import add_out, keep

#: settings of `update` beside the demo's own; `n_radial` is of the force field
WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "half the steps of consolidations": {
        "consolidation_start": "present",
        "consolidation_steps": 1000,
        "consolidation_share": 0.5,
        "energy_reject_floor": 2e-3,  # and the last one took four times the steps, not three
    },
    "8 radial functions": {"n_radial": 8},
    "8, 16 replayed": {"n_radial": 8, "n_replay": 16},
    "8, 8 replayed": {"n_radial": 8, "n_replay": 8},
    "8, 10 steps": {"n_radial": 8, "n_steps": 10},
    "8, consolidated every 20 updates": {"n_radial": 8, "consolidate_every": 20},
}
STAGES = ("segment", "screen", "crop", "relaxation", "substructure", "update", "consolidation")


def measured(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Seconds of each stage, labels, and errors of the last model, of one run of the demo."""
    program = str(Path(sys.executable).parent / "idealflow")
    config = yaml.safe_load(subprocess.run([program, "init", "cu-melt"], capture_output=True, check=True).stdout)
    config["bootstrap"]["force_field_settings"] |= {name: settings[name] for name in settings if name == "n_radial"}
    config["update"] |= {name: settings[name] for name in settings if name != "n_radial"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"workers": 1}, sort_keys=False))
    subprocess.run([program, "run", "config.yaml", "--out", "run"], cwd=folder, check=True, capture_output=True)
    campaign = Campaign.open(folder / "run")
    seconds: dict[str, float] = defaultdict(float)
    fields = ["output.kind", "output.seconds", "output.reused_from"]
    for entry in campaign.store.query({"output.kind": {"$in": [*STAGES]}}, properties=fields, load=False):
        if not entry["output"].get("reused_from"):
            seconds[entry["output"]["kind"]] += entry["output"]["seconds"]
    evaluation, total = campaign.evaluation(), sum(seconds.values())
    if evaluation is None:
        raise RuntimeError(f"the campaign in {folder} has no evaluation")
    frames = evaluation.frames
    return {
        "total_s": total,
        "shares": {stage: seconds[stage] / total for stage in STAGES},
        "n_labels": len(campaign.substructures()),
        "energy_meV": 1e3 * float(np.mean([abs(f.energy_last - f.energy_reference) / f.n_atoms for f in frames])),
        "force_meV_A": 1e3 * float(np.mean([frame.force_mae_last for frame in frames])),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    add_out(parser)
    arguments = parser.parse_args()
    for way in arguments.ways:
        rows = json.loads(arguments.out.read_text())["ways"] if arguments.out and arguments.out.exists() else {}
        with tempfile.TemporaryDirectory() as folder:
            rows[way] = measured(WAYS[way], Path(folder))
        print(way, rows[way], flush=True)
        keep(arguments.out, ways=rows)


if __name__ == "__main__":
    main()
