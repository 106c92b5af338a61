"""The engine by basis and species, and on two threads.

    python workflows/benchmarks/engine_bases.py [--quick] [--only PART ...]
        [--out workflows/benchmarks/results/engine_bases.json]

``bases``: values of 2 000 atoms against DScribe for one to four species, n_max 6 to 10 and l_max 6 and 8, in turns, CPU time of
one thread. ``gradients``: value and gradient of a cell of some 60 atoms against DScribe's periodic derivatives, likewise, n_max 8
and 10. ``bases_floor`` and ``gradients_floor`` count operations and bytes of the same cases, and say what these would take at
this core's rates and what they take; ``distances_alone`` what of a gradient distances take. ``threads``: wall time of frames on
one thread and on two, in turns, which needs two cores that nothing else uses (the load is kept beside it); and what hangs less on
others: the share of the CPU time on one thread that is not spent in blocks, and CPU time on two threads over that on one.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from unittest.mock import patch

import numba
import numpy as np
from ase import Atoms
from many_species import frame_of
from uncertainty_engine import gradient_floor, lithium, microseconds, species_of, value_floor

from idealflow.core import SOAP, UncertaintyModel
from idealflow.core.descriptors import soap as soap_module
from idealflow.core.descriptors.oracle import DScribeSOAP
from idealflow.core.descriptors.threads import in_order
from workbench.keeping import add_out, keep
from workbench.operations import Rates, distance
from workbench.threads import one_thread
from workbench.timing import compared, cpu_seconds, ratio_text, spread

Result = TypeVar("Result")
REACH = {"r_cut": 5.0, "sigma": 0.5}


def bases(quick: bool) -> list[dict[str, Any]]:
    """Values against DScribe, µs per atom."""
    return [base(*case) for case in cases(quick)]


def cases(quick: bool) -> list[tuple[int, int, int]]:
    """Species, n_max and l_max of every row."""
    every = (1, 4) if quick else (1, 2, 3, 4)
    return [(n_species, n_max, l_max) for n_species in every for l_max in (6, 8) for n_max in (6, 8, 10)]


def bases_floor(quick: bool) -> list[dict[str, Any]]:
    """What operations and bytes of the same descriptors would take at best."""
    rates, rows = Rates.measured(), []
    for n_species, n_max, l_max in cases(quick):
        atoms, soap = alloy(n_species, n_max, l_max)
        rows.append({"n_species": n_species, "n_max": n_max, "l_max": l_max} | value_floor(soap, atoms, rates))
        print(rows[-1], flush=True)
    return rows


def alloy(n_species: int, n_max: int, l_max: int) -> tuple[Atoms, SOAP]:
    """What a row is of."""
    atoms = frame_of(n_species, 2_000, 1)
    return atoms, SOAP(species_of(atoms), n_max=n_max, l_max=l_max, **REACH)


def base(n_species: int, n_max: int, l_max: int) -> dict[str, Any]:
    """One row of it."""
    atoms, soap = alloy(n_species, n_max, l_max)
    oracle = DScribeSOAP(soap)
    theirs, ours = compared(lambda: oracle(atoms), lambda: soap(atoms), 5)
    scale = 1e6 / len(atoms)
    print(f"{n_species} species, {n_max}, {l_max}: {ratio_text(theirs / ours)}", flush=True)
    return {
        "n_species": n_species, "n_max": n_max, "l_max": l_max, "features": soap.n_features,
        "dscribe_us": scale * np.median(theirs), "ours_us": scale * np.median(ours), "ratio": spread(theirs / ours),
    }  # fmt: skip


def gradients(quick: bool) -> list[dict[str, Any]]:
    """Uncertainty and its gradient against DScribe's derivatives of a periodic cell, ms."""
    return [gradient(*case) for case in cells(quick)]


def cells(quick: bool) -> list[tuple[int, int]]:
    """Species and n_max of every row."""
    return [(n_species, n_max) for n_species in ((4,) if quick else (1, 2, 3, 4)) for n_max in (8, 10)]


def gradients_floor(quick: bool) -> list[dict[str, Any]]:
    """What operations and bytes of the same gradients would take at best."""
    rates, rows = Rates.measured(), []
    for n_species, n_max in cells(quick):
        atoms, model = cell_and_model(n_species, n_max)
        found = gradient_floor(model, atoms, rates)
        rows.append({"n_species": n_species, "n_max": n_max, "l_max": 6, "n_atoms": len(atoms)} | found)
        print(rows[-1], flush=True)
    return rows


def distances_alone(_: bool) -> list[dict[str, Any]]:
    """What distances and their slopes take of a gradient with four species, µs per atom, and with one species' directions alone.

    Those of one species, asked again and again, stay in the cache; those of four in turns do not.
    """
    rates = Rates.measured()
    rows = [distances_of(n_max, rates) for n_max in (8, 10)]
    print(*rows, sep="\n", flush=True)
    return rows


def distances_of(n_max: int, rates: Rates) -> dict[str, Any]:
    """One row of it."""
    atoms, model = cell_and_model(4, n_max)
    kinds, vectors, n = model.soap.prepare(atoms).kinds, model.soap(atoms), len(atoms)
    asked = [
        (metric, some, metric.measured(some))
        for kind, metric in enumerate(model.known.whiteners())
        for some in [np.ascontiguousarray(vectors[kinds == kind])]
    ]
    one, rows_of_one, found_of_one = asked[0]
    n_one = len(rows_of_one)
    flop = [distance(len(metric.directions), model.soap.n_features, len(metric.apart)) for metric, _, _ in asked]
    return {
        "n_species": 4, "n_max": n_max, "whole_us": microseconds(lambda: model.value_and_gradient(atoms), n, 30),
        "distances_us": microseconds(lambda: [metric.measured(some) for metric, some, _ in asked], n, 30),
        "slopes_us": microseconds(lambda: [metric.slopes(some, found) for metric, some, found in asked], n, 30),
        "cached_distances_us": microseconds(lambda: one.measured(rows_of_one), n_one, 60),
        "cached_slopes_us": microseconds(lambda: one.slopes(rows_of_one, found_of_one), n_one, 60),
        "operations_us": 2e6 * float(np.mean(flop)) / rates.operations, "product_gflops": 1e-9 * rates.operations,
    }  # fmt: skip


def cell_and_model(n_species: int, n_max: int) -> tuple[Atoms, UncertaintyModel]:
    """What a row is of."""
    atoms = frame_of(n_species, 60, 1)
    soap = SOAP(species_of(atoms), n_max=n_max, l_max=6, **REACH)
    return atoms, UncertaintyModel.fit([frame_of(n_species, 60, seed) for seed in range(2, 40)], soap)


def gradient(n_species: int, n_max: int) -> dict[str, Any]:
    """One row of it."""
    atoms, model = cell_and_model(n_species, n_max)
    oracle = DScribeSOAP(model.soap)
    model.value_and_gradient(atoms)
    ours = np.array([cpu_seconds(lambda: model.value_and_gradient(atoms)) for _ in range(12)])[2:]
    theirs = np.array([cpu_seconds(lambda: oracle.derivatives(atoms)) for _ in range(2)])
    each = theirs[:, None] / ours[None, :]
    print(f"{n_species} species, {n_max}, 6: {1e3 * np.median(ours):.2f} ms {ratio_text(each, digits=0)}", flush=True)
    return {
        "n_species": n_species, "n_max": n_max, "l_max": 6, "n_atoms": len(atoms),
        "dscribe_ms": 1e3 * np.median(theirs), "ours_ms": 1e3 * np.median(ours), "ratio": spread(each),
    }  # fmt: skip


def threads(quick: bool) -> list[dict[str, Any]]:
    """One thread and two, by the clock."""
    return [row for n_species, n in ((1, 16_000), (4, 8_000)) for row in thread(n_species, n // 4 if quick else n)]


def thread(n_species: int, n_atoms: int) -> list[dict[str, Any]]:
    """Two rows of it: uncertainties, and values with gradients."""

    def build(n: int, seed: int) -> Atoms:
        return lithium(n, seed) if n_species == 1 else frame_of(n_species, n, seed)

    frame, rows = build(n_atoms, 0), []
    soap = SOAP(species_of(frame), n_max=8, l_max=6, **REACH)
    model = UncertaintyModel.fit([build(400, seed) for seed in range(1, 11)], soap)
    for what, work in (
        ("uncertainties", lambda: model(frame)),
        ("value and gradient", lambda: model.value_and_gradient(frame)),
    ):
        work()
        turns = np.array([[on(n, lambda w=work: wall_and_cpu(w)) for n in (1, 2)] for _ in range(7)])
        share = float(np.median([on(1, lambda w=work: serial_share(w)) for _ in range(3)]))
        ratios = turns[:, 0, 0] / turns[:, 1, 0]
        more = float(np.median(turns[:, 1, 1] / turns[:, 0, 1]))
        row = {
            "n_species": n_species, "n_atoms": len(frame), "what": what, "one_s": turns[:, 0, 0].min(),
            "two_s": turns[:, 1, 0].min(), "ratio": spread(ratios), "serial": share, "cpu_ratio": more,
            "at_best": 2.0 / (1.0 + share) / more, "load": os.getloadavg()[0],
        }  # fmt: skip
        print(
            f"{n_species} species, {what}: {ratio_text(ratios, digits=2)} at a load of {row['load']:.1f}; serial "
            f"{100 * share:.1f} %, CPU {more:.2f} times, so alone at best {row['at_best']:.2f}",
            flush=True,
        )
        rows.append(row)
    return rows


def on(n_threads: int, work: Callable[[], Result]) -> Result:
    """What ``work`` returns with so many threads."""
    numba.set_num_threads(n_threads)
    try:
        return work()
    finally:
        numba.set_num_threads(1)


def wall_and_cpu(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of all threads' CPU."""
    started, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - cpu


def serial_share(work: Callable[[], object]) -> float:
    """Share of the CPU time on one thread that is spent outside the blocks that threads share."""
    inside = 0.0

    def watched(task: Callable[[Any], Result], blocks: Sequence[Any]) -> Iterator[Result]:
        def call(block: Any) -> Result:
            nonlocal inside
            started = time.process_time()
            found = task(block)
            inside += time.process_time() - started
            return found

        return in_order(call, blocks)

    with patch.object(soap_module, "in_order", watched):
        started = time.process_time()
        work()
        return 1.0 - inside / (time.process_time() - started)


PARTS = {
    "bases": bases,
    "gradients": gradients,
    "bases_floor": bases_floor,
    "gradients_floor": gradients_floor,
    "distances_alone": distances_alone,
    "threads": threads,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="The engine by basis and species, and on two threads.")
    parser.add_argument("--quick", action="store_true", help="fewer cases")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    for name in arguments.only:
        keep(arguments.out, **{name: PARTS[name](arguments.quick)})


if __name__ == "__main__":
    main()
