"""The engine by basis and species, and on two threads.

    python workflows/benchmarks/engine_bases.py [--only bases gradients threads] [--quick]
        [--out workflows/benchmarks/results/engine_bases.json]

``bases``: values of 2 000 atoms against DScribe for one to four species, n_max 6 to 10 and l_max 6 and 8, in turns, CPU time of
one thread. ``gradients``: value and gradient of a cell of some 60 atoms against DScribe's periodic derivatives, likewise, n_max 8
and 10. ``threads``: wall time of frames on one thread and on two, in turns, and the share of all CPU time that the calling
thread spends, which does what is not done in blocks; it needs two cores that nothing else uses.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from many_species import frame_of
from uncertainty_engine import lithium, species_of

from idealflow.core import SOAP, UncertaintyModel
from idealflow.core.descriptors.oracle import DScribeSOAP
from workbench.keeping import add_out, keep
from workbench.threads import one_thread
from workbench.timing import compared, cpu_seconds, ratio_text, seconds, spread

REACH = {"r_cut": 5.0, "sigma": 0.5}


def bases(quick: bool) -> list[dict[str, Any]]:
    """Values against DScribe, µs per atom."""
    rows = []
    for n_species in (1, 4) if quick else (1, 2, 3, 4):
        atoms = frame_of(n_species, 2_000, 1)
        for l_max in (6, 8):
            for n_max in (6, 8, 10):
                soap = SOAP(species_of(atoms), n_max=n_max, l_max=l_max, **REACH)
                oracle = DScribeSOAP(soap)
                theirs, ours = compared(lambda o=oracle, a=atoms: o(a), lambda s=soap, a=atoms: s(a), 5)
                scale = 1e6 / len(atoms)
                print(f"{n_species} species, {n_max}, {l_max}: {ratio_text(theirs / ours)}", flush=True)
                rows.append({
                    "n_species": n_species, "n_max": n_max, "l_max": l_max, "features": soap.n_features,
                    "dscribe_us": scale * np.median(theirs), "ours_us": scale * np.median(ours), "ratio": spread(theirs / ours),
                })  # fmt: skip
    return rows


def gradients(quick: bool) -> list[dict[str, Any]]:
    """Uncertainty and its gradient against DScribe's derivatives of a periodic cell, ms."""
    rows = []
    for n_species in (4,) if quick else (1, 2, 3, 4):
        atoms = frame_of(n_species, 60, 1)
        for n_max in (8,) if quick else (8, 10):
            soap = SOAP(species_of(atoms), n_max=n_max, l_max=6, **REACH)
            model = UncertaintyModel.fit([frame_of(n_species, 60, seed) for seed in range(2, 40)], soap)
            oracle = DScribeSOAP(soap)
            model.value_and_gradient(atoms)
            ours = np.array([cpu_seconds(lambda m=model, a=atoms: m.value_and_gradient(a)) for _ in range(12)])[2:]
            theirs = np.array([cpu_seconds(lambda o=oracle, a=atoms: o.derivatives(a)) for _ in range(2)])
            each = theirs[:, None] / ours[None, :]
            print(
                f"{n_species} species, {n_max}, 6: {1e3 * np.median(ours):.2f} ms {ratio_text(each, digits=0)}",
                flush=True,
            )
            rows.append({
                "n_species": n_species, "n_max": n_max, "l_max": 6, "n_atoms": len(atoms),
                "dscribe_ms": 1e3 * np.median(theirs), "ours_ms": 1e3 * np.median(ours), "ratio": spread(each),
            })  # fmt: skip
    return rows


def threads(quick: bool) -> list[dict[str, Any]]:
    """One thread and two, by the clock."""
    rows = []
    for n_species, n_atoms in ((1, 16_000), (4, 8_000)):
        build = lithium if n_species == 1 else lambda n, seed: frame_of(4, n, seed)
        frame = build(n_atoms // 4 if quick else n_atoms, 0)
        soap = SOAP(species_of(frame), n_max=8, l_max=6, **REACH)
        model = UncertaintyModel.fit([build(400, seed) for seed in range(1, 11)], soap)
        for what, work in (
            ("uncertainties", lambda m=model, f=frame: m(f)),
            ("value and gradient", lambda m=model, f=frame: m.value_and_gradient(f)),
        ):
            work()
            turns = np.array([[on(n, lambda w=work: seconds(w)) for n in (1, 2)] for _ in range(7)])
            share = on(2, lambda w=work: share_of_this_thread(w))
            ratios = turns[:, 0] / turns[:, 1]
            print(
                f"{n_species} species, {len(frame)} atoms, {what}: {ratio_text(ratios, digits=2)}, best of each "
                f"{turns[:, 0].min() / turns[:, 1].min():.2f}, serial {100 * share:.1f} %",
                flush=True,
            )
            rows.append({
                "n_species": n_species, "n_atoms": len(frame), "what": what, "one_s": turns[:, 0].min(),
                "two_s": turns[:, 1].min(), "ratio": spread(ratios), "serial": share,
            })  # fmt: skip
    return rows


def on(n_threads: int, work: Callable[[], float]) -> float:
    """What ``work`` returns with so many threads."""
    numba.set_num_threads(n_threads)
    try:
        return work()
    finally:
        numba.set_num_threads(1)


def share_of_this_thread(work: Callable[[], object]) -> float:
    """CPU time of the calling thread over that of all."""
    own, everyone = time.thread_time(), time.process_time()
    work()
    return (time.thread_time() - own) / (time.process_time() - everyone)


PARTS = {"bases": bases, "gradients": gradients, "threads": threads}


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
