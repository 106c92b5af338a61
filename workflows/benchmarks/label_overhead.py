"""What a label costs beyond its calculator: EMT in a worker process against EMT called directly.

Prints the fastest of many calls of each (other programs take their share of the machine) and their difference, in
milliseconds, for cells of 4 to 256 atoms.

    python workflows/benchmarks/label_overhead.py
"""

from __future__ import annotations

from functools import partial

from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from idealflow.labelling import AseLabeller, close_workers
from workbench.timing import fastest

N_CALLS = 50


def direct(atoms: Atoms) -> None:
    """Energy, forces and stress without a worker."""
    copy = atoms.copy()
    copy.calc = EMT()
    copy.get_stress()


def main() -> None:
    """Print the table."""
    labeller = AseLabeller("ase.calculators.emt.EMT")
    print(f"{'atoms':>6} {'worker':>9} {'direct':>9} {'overhead':>9}  ms")
    for repeat in (1, 2, 3, 4):
        atoms = bulk("Cu", cubic=True) * repeat
        atoms.rattle(0.1, seed=1)
        labeller.compute(atoms)
        label, alone = (1e3 * fastest(partial(call, atoms), N_CALLS) for call in (labeller.compute, direct))
        print(f"{len(atoms):6d} {label:9.2f} {alone:9.2f} {label - alone:9.2f}")
    close_workers()


if __name__ == "__main__":
    main()
