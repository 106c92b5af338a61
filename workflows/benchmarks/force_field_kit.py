"""What a force field costs before it computes: processor seconds of the conformance kit, and of a process that starts with it.

    python workflows/benchmarks/force_field_kit.py [--force-fields local m3gnet-small m3gnet]
        [--out workflows/benchmarks/results/force_field_kit.json]

The kit is run on four cells of 32 copper atoms that EMT labelled, with its defaults (twenty steps a fit), for those force fields
that learn on a CPU; its other processes count. A start is a new process that loads a saved force field, as a job of a campaign
does, and computes the forces of one of the cells: everything that it imports counts. The least of three; user and system time.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from idealflow.core.structure import set_label
from idealflow.forcefields import ForceField, get_force_field
from idealflow.testing import check_force_field
from workbench.keeping import add_out, keep
from workbench.threads import one_thread

#: settings beside the defaults, and whether the kit is run
FORCE_FIELDS: dict[str, tuple[dict[str, Any], bool]] = {
    "local": ({}, True),
    "m3gnet-small": ({}, True),
    "m3gnet": ({}, False),
    "mace": ({}, False),  # in its own environment: --force-fields mace
    "sevennet": ({}, False),  # likewise
    "chgnet": ({}, False),  # likewise
}
_START = """
import sys
import torch
torch.set_num_threads(1)
from ase.io import read
from idealflow.forcefields import load_force_field
atoms = read(sys.argv[2])
atoms.calc = load_force_field(sys.argv[1]).calculator()
atoms.get_forces()
"""


def cells(n: int = 4) -> list[Atoms]:
    """Rattled and strained copper of 32 atoms."""
    made = []
    for seed in range(n):
        atoms = bulk("Cu", a=3.62, cubic=True) * 2
        atoms.rattle(0.1, seed=seed)
        strain = 0.03 * np.random.default_rng(seed).normal(size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        bare = atoms.copy()
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        made.append(set_label(bare, energy=energy, forces=forces, stress=atoms.get_stress()))
    return made


def spent() -> float:
    """User and system time of this process and of its children, s."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def start_of(force_field: ForceField, dataset: list[Atoms], runs: int = 3) -> float:
    """Least processor seconds of a process that loads a force field and computes a cell, s."""
    trained, found = force_field.copy(), []
    trained.fit(dataset, steps=1)
    with tempfile.TemporaryDirectory() as folder:
        model, cell = Path(folder) / "force_field", Path(folder) / "cell.json"
        trained.save(model)
        write(cell, dataset[0])
        for _ in range(runs):
            before = spent()
            subprocess.run([sys.executable, "-c", _START, str(model), str(cell)], check=True)
            found.append(spent() - before)
    return min(found)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--force-fields", nargs="+", choices=list(FORCE_FIELDS), default=["local", "m3gnet-small", "m3gnet"]
    )
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    dataset = cells()
    for name in arguments.force_fields:
        settings, kit = FORCE_FIELDS[name]
        force_field = get_force_field(name, species=["Cu"], **settings)
        row = {"start_s": start_of(force_field, dataset)}
        if kit:
            before = spent()
            check_force_field(force_field, dataset)
            row["kit_s"] = spent() - before
        print(name, row, flush=True)
        keep(arguments.out, **{name: row})


if __name__ == "__main__":
    main()
