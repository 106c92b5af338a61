"""Where consolidations begin, how long they are, and where the guard of energies ends: ways of `learning.py` by several seeds.

    python workflows/benchmarks/learning_seeds.py si cu ni3al [--seeds 0 1 2] [--demo DIR]
        [--out workflows/benchmarks/results/learning_seeds.json]

Errors at the end hang on the order in which batches are drawn, the small ones of a crystal's energy most of all. So each way is
gone with several seeds, and fits from scratch, too. Rows that are there are kept. Processor seconds of one thread. With
``--demo`` the campaign of `make demo` is run in several ways, too, in folders in DIR, or read where it has been.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from learning import SYSTEMS, WAYS, data, first_model, fresh, run

from idealflow import ModelUpdateMaker
from workbench.keeping import add_out, keep
from workbench.threads import one_thread

FIT_STEPS = 6000
FIT = f"fresh fit, {FIT_STEPS} steps"
COMPARED = (
    FIT,
    "default",
    "from present weights",
    "half the steps",
    "half the steps, from present weights",
    "guard without a floor",
)

#: consolidations before; the last one took four times the steps
BEFORE = {"consolidation_start": "present", "consolidation_steps": 1000, "consolidation_share": 0.5}
#: settings of `update` beside the demo's own
DEMOS: dict[str, dict[str, Any]] = {
    "default": {},
    "floor": BEFORE | {"energy_reject_floor": 2e-3},
    "none": BEFORE | {"energy_reject_floor": 0.0},
    "floor-consolidated": BEFORE | {"energy_reject_floor": 2e-3, "consolidation_start": "consolidated"},
    "none-consolidated": BEFORE | {"energy_reject_floor": 0.0, "consolidation_start": "consolidated"},
}
#: settings that are told beside a run of the demo
TOLD = ("consolidation_start", "consolidation_steps", "consolidation_share", "energy_reject_floor")


def demo(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What a run of the demo counts, and the errors of its last model by the stages of its schedule."""
    if not (folder / "summary.json").exists():
        program = str(Path(sys.executable).parent / "idealflow")
        config = yaml.safe_load(subprocess.run([program, "init", "cu-melt"], capture_output=True, check=True).stdout)
        config["update"] |= settings
        file = folder.with_suffix(".yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(config, sort_keys=False))
        subprocess.run([program, "run", str(file), "--out", str(folder), "--workers", "1"], check=True)
    summary = json.loads((folder / "summary.json").read_text())
    counts = ("n_substructures", "n_rejected_updates", "n_consolidations", "n_discarded_consolidations")
    last = ("energy_mae_last_meV_per_atom", "force_mae_last_meV_per_A")
    update = ModelUpdateMaker(**settings)
    return (
        {name: getattr(update, name) for name in TOLD}
        | {name: summary[name] for name in counts}
        | {"errors": [[stage[name] for name in last] for stage in summary["evaluation"]]}
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # argparse looks for the default among the choices, too
    parser.add_argument("systems", nargs="*", choices=[*SYSTEMS, []], default=[])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", choices=[FIT, *WAYS], default=list(COMPARED))
    parser.add_argument("--data", type=Path, default=Path("build/learning"))
    parser.add_argument("--demo", type=Path, metavar="DIR")
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    rows = json.loads(arguments.out.read_text())["rows"] if arguments.out and arguments.out.exists() else []
    for name in arguments.systems:
        sets = data(name, arguments.data)
        start = first_model(sets)
        for seed in arguments.seeds:
            for way in arguments.ways:
                about = {"system": name, "way": way, "seed": seed}
                if any(about.items() <= row.items() for row in rows):
                    continue
                rows.append(about | (fresh(sets, FIT_STEPS, seed) if way == FIT else run(start, sets, WAYS[way], seed)))
                print(rows[-1], flush=True)
                keep(arguments.out, rows=rows)
    if arguments.demo is not None:
        keep(arguments.out, demo={name: demo(settings, arguments.demo / name) for name, settings in DEMOS.items()})


if __name__ == "__main__":
    main()
