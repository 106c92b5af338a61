"""What learning costs beside what it cost before: the labels of `learning.py`, learned by an earlier version and by this one.

    python workflows/benchmarks/learning_before.py si cu ni3al --source DIR
        [--out workflows/benchmarks/results/learning_before.json]

``--source`` is the folder ``src`` of the version before updates and consolidations of today (the parent of d5877b0: 20 steps an
update, 16 structures replayed, then twelve iterations that polish the energies). Its force field learns the rounds in a process
of its own; then this version learns them by its defaults, updates and consolidations. Both count what an update does: errors
before and after on new labels and a validation set, and the training. Processor seconds of one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from learning import A_ROUND, HELD_OUT, N_FIRST, N_VALIDATION, SYSTEMS, WAYS, data, run

from idealflow.forcefields import get_force_field
from workbench.keeping import add_out, keep
from workbench.threads import one_thread

#: runs in the earlier version, which has no `learning.py`
_UPDATES = """
import json, sys, time
import numpy as np, torch
from ase.io import read
from idealflow.forcefields import get_force_field
torch.set_num_threads(1)
folder, held_out, a_round, n_validation = sys.argv[1], *map(int, sys.argv[2:])
first, run = (read(f"{folder}/{part}.traj", ":") for part in ("first", "run"))
force_field = get_force_field("local", species=sorted(set(first[0].get_chemical_symbols())))
held = [atoms for number, atoms in enumerate(first) if number % held_out == 0]
known = [atoms for number, atoms in enumerate(first) if number % held_out]
force_field.fit(known, steps=200, seed=5)  # what updates cost does not depend on it
spent = 0.0
for number in range(len(run) // a_round):
    new, rng = run[a_round * number : a_round * (number + 1)], np.random.default_rng([1, number])
    started = time.process_time()
    replay = [known[i] for i in rng.choice(len(known), 16, replace=False)]
    validation = [*held, *(known[i] for i in rng.choice(len(known), n_validation, replace=False))]
    trained = force_field.copy()
    force_field.errors(new), force_field.errors(validation)
    trained.update(new, replay, steps=20, lr=3e-4, seed=number)
    trained.errors(new), trained.errors(validation), trained.errors(replay)
    spent += time.process_time() - started
    force_field, known = trained, [*known, *new]
print(json.dumps(spent))
"""


def seconds_before(source: Path, folder: Path) -> float:
    """Processor seconds of the earlier version's updates."""
    numbers = [str(each) for each in (N_FIRST // HELD_OUT, A_ROUND, N_VALIDATION)]
    done = subprocess.run(
        [sys.executable, "-c", _UPDATES, str(folder), *numbers],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(source.resolve())},
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="+", choices=list(SYSTEMS))
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("build/learning"))
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    for name in arguments.systems:
        sets = data(name, arguments.data)
        before = seconds_before(arguments.source, arguments.data / name)
        start = get_force_field("local", species=sorted(set(sets["first"][0].get_chemical_symbols())))
        start.fit([atoms for number, atoms in enumerate(sets["first"]) if number % (N_FIRST // HELD_OUT)], seed=5)
        now = run(start, sets, WAYS["default"])["seconds"]
        print(f"{name:8s} before {before:6.1f} s, now {now:6.1f} s, ratio {now / before:.2f}", flush=True)
        keep(arguments.out, **{name: {"before_s": before, "now_s": now, "ratio": now / before}})


if __name__ == "__main__":
    main()
