"""What a label costs beyond its calculator: EMT in a worker process against EMT called directly.

Prints the fastest of many calls of each (other programs take their share of the machine) and their difference, in
milliseconds, for cells of 4 to 256 atoms.

    python workflows/benchmarks/label_overhead.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from idealflow.labelling import AseLabeller, close_workers


def fastest(call: Callable[[], object], n_calls: int = 50) -> float:
    """Milliseconds of the fastest call."""
    times = []
    for _ in range(n_calls):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


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
        label, alone = fastest(lambda atoms=atoms: labeller.compute(atoms)), fastest(lambda atoms=atoms: direct(atoms))
        print(f"{len(atoms):6d} {label:9.2f} {alone:9.2f} {label - alone:9.2f}")
    close_workers()


if __name__ == "__main__":
    main()
