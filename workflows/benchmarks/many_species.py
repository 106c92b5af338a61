"""What uncertainties cost beside their descriptors, by the number of species and of known environments.

    python workflows/benchmarks/many_species.py [--quick] [--parts rows mixture] [--out .../results/many_species.json]

Random alloys with SOAP of r_cut 5 Å, n_max 8, l_max 6, whose distribution grows frame by frame; 2 000 atoms are screened, in
turns with their descriptors alone; one thread, times of CPU, the least of seven calls beside the spread of their ratios. Next to
what distances take stands what their arithmetic would take at the rate of a matrix product, and what whitened vectors take
(``Whitener.__call__``). The metric is then made again after an update. Beside it are the seconds in which the environments were
learned and the process's peak of memory so far. Then the mixture with up to eight Gaussians a species, of frames strained and
displaced in eight ways: its values, and values with the gradient of their sum, over those of the descriptors alone, 1 000 atoms.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from ase import Atoms
from ase.build import bulk
from uncertainty_engine import BASIS, nitrides

from idealflow.core import SOAP, MixtureModel
from idealflow.core.known import KnownEnvironments
from idealflow.core.numba_engine import NumbaEngine
from workbench.crystals import rattled, repeated
from workbench.keeping import add_out, keep
from workbench.operations import distance, matrix_product_rate
from workbench.threads import one_thread
from workbench.timing import compared, cpu_seconds, spread

ELEMENTS = ("Ni", "Al", "Co", "Cr", "Fe")
#: environments of the commonest species; five metals end where all of theirs are 100 000
CASES = {
    1: (400, 3_000, 100_000),
    2: (400, 3_000, 100_000),
    3: (400, 3_000, 100_000),
    4: (400, 1_500, 100_000),
    5: (400, 20_000),
}
JOINING = 150
#: displacements, Å, and stretches of the frames that the mixture knows
MANNERS = ((0.0, 1.0), (0.15, 1.0), (0.35, 1.0), (0.0, 0.95), (0.0, 1.06), (0.15, 0.95), (0.15, 1.06), (0.3, 1.06))


def frame_of(n_species: int, n_atoms: int, seed: int) -> Atoms:
    """So many species on a face-centred cubic lattice, at random; of three, iridium with nitrogen and hydrogen in it."""
    if n_species == 3:
        return nitrides(n_atoms, seed)
    atoms = repeated(bulk("Ni", a=3.57, cubic=True), n_atoms)
    atoms.symbols[:] = np.random.default_rng([seed, 1]).permutation(np.resize(ELEMENTS[:n_species], len(atoms)))
    return rattled(atoms, 0.08, seed)


def cases(n_species: int, sizes: Sequence[int], rate: float) -> Iterator[dict[str, object]]:
    """A line for each size: so many species, so many environments of the commonest known."""
    soap = SOAP(ELEMENTS[:n_species] if n_species != 3 else ("H", "N", "Ir"), **BASIS)
    known = KnownEnvironments(soap.species, soap.n_features, pooled=False, relative_cut=1e-7, seed=0)
    seed, spent = 0, 0.0

    def learn(n_atoms: int) -> int:
        nonlocal seed
        seed += 1
        frame = soap.prepare(frame_of(n_species, n_atoms, seed))
        known.join(soap(frame), frame.kinds)
        return len(frame)

    for n in sizes:
        started = time.process_time()
        while max(one.n for one in known.distributions.values()) < n:
            learn(min(2_000, n * n_species))
        spent += time.process_time() - started
        yield line(n_species, soap, known, learn, rate) | {
            "in_all": sum(one.n for one in known.distributions.values()), "learning_s": spent,
            "peak_gb": 1.024e-6 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }  # fmt: skip


def line(
    n_species: int, soap: SOAP, known: KnownEnvironments, learn: Callable[[int], int], rate: float
) -> dict[str, object]:
    """What is measured of one size."""
    brought = []
    for _ in range(4):  # some of them may be folded into a new base
        before = known.to_arrays()[0]
        joined = learn(JOINING)
        after = known.to_arrays()[0]
        new = [name for name, array in after.items() if name not in before or not np.array_equal(array, before[name])]
        brought.append(1e-3 * sum(after[name].nbytes for name in new) / joined)
    size = sum(array.nbytes for array in after.values())
    factorising = cpu_seconds(known.left_out)
    frame = soap.prepare(frame_of(n_species, 2_000, 10_000))
    engine, chosen = NumbaEngine(soap), np.arange(len(frame))
    with_distances, alone = compared(
        lambda: engine.distances(frame, chosen, known, raw=False), lambda: soap(frame), 7
    )  # fmt: skip
    vectors = soap(frame)
    whiteners = [(whitener, np.flatnonzero(frame.kinds == kind)) for kind, whitener in enumerate(known.whiteners())]
    explicit, ours = compared(
        lambda: [(whitener(vectors[rows]) ** 2).sum(axis=1) for whitener, rows in whiteners],
        lambda: [whitener.squared(vectors, rows) for whitener, rows in whiteners],
        5,
    )
    scale, d = 1e6 / len(frame), soap.n_features
    flop = sum(distance(len(w.directions), d, min(len(w.apart), d)) * len(rows) for w, rows in whiteners) / len(frame)
    return {
        "species": n_species, "features": d, "known": max(one.n for one in known.distributions.values()),
        "directions": max(len(w.directions) for w, _ in whiteners), "apart": max(len(w.apart) for w, _ in whiteners),
        "soap_us": scale * alone.min(), "uncertainty_us": scale * with_distances.min(),
        "ratio": spread(with_distances / alone), "distances_us": scale * ours.min(), "explicit_us": scale * explicit.min(),
        "floor_us": 1e6 * flop / rate, "bytes": d * 8, "factorising_s": factorising, "file_mb": 1e-6 * size,
        "new_kb_each": min(brought),
    }  # fmt: skip


def mixture(n_species: int) -> dict[str, object]:
    """One line of the mixture, so many species."""
    soap = SOAP(ELEMENTS[:n_species] if n_species != 3 else ("H", "N", "Ir"), **BASIS)
    known = []
    for seed, (width, stretch) in enumerate(MANNERS):
        atoms = rattled(frame_of(n_species, 200 * n_species, seed), width, seed)
        atoms.set_cell(atoms.cell * stretch, scale_atoms=True)
        known.append(atoms)
    u = MixtureModel.fit(known, soap)
    frame = soap.prepare(frame_of(n_species, 1_000, 10_000))
    weights = np.ones(len(frame))
    values, alone = compared(lambda: u(frame), lambda: soap(frame), 7)
    of_base, alone_again = compared(lambda: u.base(frame), lambda: soap(frame), 7)
    slopes, reverse = compared(
        lambda: u.values_and_pull_back(frame)[1](weights),
        lambda: soap.pull_back(frame, None, lambda _, vectors: vectors),
        5,
    )
    return {
        "species": n_species, "features": soap.n_features, "gaussians": max(u.n_components.values()),
        "soap_us": 1e6 * alone.min() / len(frame), "ratio": spread(values / alone), "base_ratio": spread(of_base / alone_again),
        "gradient_us": 1e6 * reverse.min() / len(frame), "gradient_ratio": spread(slopes / reverse),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Uncertainties of several species.")
    parser.add_argument("--quick", action="store_true", help="400 environments, up to three species")
    parser.add_argument("--parts", nargs="+", default=["rows", "mixture"], choices=["rows", "mixture"])
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    if "mixture" in arguments.parts:
        found = [mixture(n_species) for n_species in (1, 2, 3)]
        print(*found, sep="\n", flush=True)
        keep(arguments.out, mixture=found)
    if "rows" not in arguments.parts:
        return
    rate, rows = matrix_product_rate(), []
    for n_species, sizes in CASES.items():
        if arguments.quick and n_species > 3:
            continue
        for row in cases(n_species, sizes[:1] if arguments.quick else sizes, rate):
            rows.append(row)
            print(
                {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()},
                flush=True,
            )
            keep(arguments.out, rows=rows, product_gflops=1e-9 * rate)


if __name__ == "__main__":
    main()
