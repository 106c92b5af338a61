"""The uncertainty engine against DScribe: values, gradients, a crop with its relaxation, and a million atoms.

    python workflows/benchmarks/uncertainty_engine.py [--quick] [--out workflows/benchmarks/results/uncertainty_engine.json]
        [--only values gradients values_floor gradients_floor substructure scale coverage profile profile_four]

Every comparison alternates the two engines in one run and prints the median ratio of the pairs with its spread (lowest to
highest). One thread unless said; times are of CPU where there is one, which a busy machine disturbs least. ``values_floor`` and
``gradients_floor`` count operations and bytes of the same cases, and say what these would take at this core's rates and what
they take.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from ase import Atoms
from ase.build import bulk

from idealflow.core import SOAP, UncertaintyModel, crop_search, relax_shell
from idealflow.core.descriptors import PreparedFrame
from idealflow.core.descriptors.alignment import aligned
from idealflow.core.descriptors.harmonics import harmonic_constants
from idealflow.core.descriptors.kernel import density
from idealflow.core.descriptors.neighbours import Pairs
from idealflow.core.descriptors.oracle import DScribeSOAP
from idealflow.core.descriptors.spectrum import power_spectrum
from idealflow.core.known import KnownEnvironments
from workbench import crystals
from workbench.crystals import rattled, repeated
from workbench.keeping import add_out, keep
from workbench.operations import (
    NUMBER,
    Rates,
    distance,
    matrix_product_rate,
    soap_pair,
    soap_slopes,
    soap_spectrum,
    soap_values,
)
from workbench.threads import one_thread
from workbench.timing import compared, cpu_seconds, ratio_text, seconds, spread

BASIS = {"r_cut": 5.0, "n_max": 8, "l_max": 6, "sigma": 0.5}
SMALL = {"r_cut": 4.0, "n_max": 6, "l_max": 6, "sigma": 0.4}


def lithium(n_atoms: int, seed: int = 0) -> Atoms:
    """Body-centred cubic lithium of about so many atoms, displaced as at room temperature."""
    return rattled(crystals.lithium(max(1, round((n_atoms / 2) ** (1 / 3)))), 0.15, seed)


def alumina(n_atoms: int, seed: int = 0) -> Atoms:
    """Corundum."""
    return rattled(repeated(crystals.corundum(), n_atoms), 0.08, seed)


def nitrides(n_atoms: int, seed: int = 0) -> Atoms:
    """Iridium with nitrogen and hydrogen dissolved at random in its octahedral and tetrahedral holes."""
    cell = bulk("Ir", "fcc", a=3.84, cubic=True)
    holes = np.array([[0.5, 0.5, 0.5], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]) * 3.84
    atoms = repeated(cell + Atoms("N4", holes), n_atoms)
    nitrogen = np.flatnonzero(atoms.symbols == "N")
    atoms.symbols[np.random.default_rng(seed).permutation(nitrogen)[: 2 * len(nitrogen) // 3]] = "H"
    return rattled(atoms, 0.08, seed)


SYSTEMS: dict[str, Callable[..., Atoms]] = {"Li": lithium, "Al2O3": alumina, "Ir-N-H": nitrides}


def species_of(atoms: Atoms) -> list[str]:
    return sorted(set(atoms.get_chemical_symbols()))


def values(quick: bool) -> list[dict[str, Any]]:
    """Descriptors of every atom of a frame."""
    print("\nvalues, µs per atom; ratio DScribe / ours (goal 3 in float64, 5 in float32)")
    print(
        f"{'system':8s}{'atoms':>9s}{'DScribe':>10s}{'float64':>10s}{'float32':>10s}   ratio float64      ratio float32"
    )
    rows = []
    for system, sizes in sizes_of(quick).items():
        for n in sizes:
            atoms = SYSTEMS[system](n)
            double = SOAP(species_of(atoms), **BASIS)
            single = SOAP(species_of(atoms), **BASIS, dtype="float32")
            oracle = DScribeSOAP(double)
            repeats = 2 if n > 50_000 else 5
            theirs, ours = compared(lambda o=oracle, a=atoms: o(a), lambda s=double, a=atoms: s(a), repeats)
            again, fast = compared(lambda o=oracle, a=atoms: o(a), lambda s=single, a=atoms: s(a), max(2, repeats - 2))
            scale = 1e6 / len(atoms)
            print(
                f"{system:8s}{len(atoms):9d}{scale * np.median(theirs):10.1f}{scale * np.median(ours):10.1f}"
                f"{scale * np.median(fast):10.1f}   {ratio_text(theirs / ours):18s} {ratio_text(again / fast)}",
                flush=True,
            )
            times = {"dscribe": theirs, "float64": ours, "float32": fast}
            rows.append({
                "system": system, "n_atoms": len(atoms),
                **{f"{name}_us": scale * np.median(found) for name, found in times.items()},
                "float64_ratio": spread(theirs / ours), "float32_ratio": spread(again / fast),
            })  # fmt: skip
    return rows


def sizes_of(quick: bool) -> dict[str, tuple[int, ...]]:
    """Numbers of atoms of each system."""
    return dict.fromkeys(SYSTEMS, (2_000,) if quick else (2_000, 16_000, 100_000))


def values_floor(quick: bool) -> list[dict[str, Any]]:
    """What the operations and bytes of the same descriptors would take at best, in double precision."""
    rates, rows = Rates.measured(), []
    for system, sizes in sizes_of(quick).items():
        for n in sizes:
            atoms = SYSTEMS[system](n)
            rows.append(
                {"system": system, "n_atoms": len(atoms)} | value_floor(SOAP(species_of(atoms), **BASIS), atoms, rates)
            )
            print(rows[-1], flush=True)
    return rows


def value_floor(soap: SOAP, atoms: Atoms, rates: Rates) -> dict[str, float]:
    """An atom's descriptor: its operations, its numbers, which are written once, and what it takes."""
    spent = microseconds(lambda: soap(atoms), len(atoms), 3 if len(atoms) > 50_000 else 7)
    n_pairs = pairs_of_an_atom(soap, atoms)
    operations = soap_values(soap.n_max, soap.l_max, len(soap.species), n_pairs)
    return {"n_pairs": n_pairs, "us": spent} | rates.floor(operations, NUMBER * soap.n_features)


def gradient_floor(model: UncertaintyModel, atoms: Atoms, rates: Rates) -> dict[str, float]:
    """An atom's uncertainty and gradient: their operations, and the directions of all species, which are read once a call."""
    soap, spent = model.soap, microseconds(lambda: model.value_and_gradient(atoms), len(atoms), 6_000 // len(atoms))
    n_pairs, size = pairs_of_an_atom(soap, atoms), (soap.n_max, soap.l_max, len(soap.species))
    metrics, kinds = model.known.whiteners(), soap.prepare(atoms).kinds
    of_kind = [distance(len(metric.directions), soap.n_features, len(metric.apart)) for metric in metrics]
    operations = (
        soap_values(*size, n_pairs) + soap_slopes(*size, n_pairs) + 2.0 * float(np.mean(np.array(of_kind)[kinds]))
    )
    directions = sum(len(metric.directions) for metric in metrics)
    n_bytes = NUMBER * directions * soap.n_features / len(atoms)
    return {"n_pairs": n_pairs, "directions": directions, "us": spent} | rates.floor(operations, n_bytes)


def microseconds(work: Callable[[], object], n_atoms: int, repeats: int) -> float:
    """CPU time of so many calls after one that compiles, the median, by atom."""
    work()
    return 1e6 * float(np.median([cpu_seconds(work) for _ in range(repeats)])) / n_atoms


def pairs_of_an_atom(soap: SOAP, atoms: Atoms) -> float:
    """Neighbours that a descriptor has, on average."""
    frame = soap.prepare(atoms)
    return sum(len(frame.grid.pairs(block).j) for block in blocks_of(len(frame))) / len(frame)


def blocks_of(n: int) -> list[np.ndarray]:
    """Centres in blocks, as the engine takes them."""
    return [np.arange(start, min(start + 256, n)) for start in range(0, n, 256)]


def gradients(quick: bool) -> list[dict[str, Any]]:
    """Value and gradient in positions (ours: and cell) of a scalar of all descriptors of a periodic cell."""
    print("\nvalue and gradient, periodic, ms; ratio DScribe / ours (goals 100, 200, 300)")
    rows = []
    for n, system in cells(quick):
        atoms, model = cell_and_model(n, system)
        oracle = DScribeSOAP(model.soap)
        calls = 6_000 // n  # a relaxation calls it over and over; few calls of a small cell tell of cold caches instead
        ours = np.array([cpu_seconds(lambda m=model, a=atoms: m.value_and_gradient(a)) for _ in range(2 + calls)])[2:]
        theirs = np.array([cpu_seconds(lambda o=oracle, a=atoms: o.derivatives(a)) for _ in range(2 if n > 60 else 3)])
        each = theirs[:, None] / ours[None, :]
        print(
            f"{system:8s}{len(atoms):6d} atoms{1e3 * np.median(theirs):10.0f}{1e3 * np.median(ours):8.2f}   "
            f"{ratio_text(each, digits=0)}",
            flush=True,
        )
        medians = {"dscribe_ms": 1e3 * np.median(theirs), "ours_ms": 1e3 * np.median(ours)}
        rows.append({"system": system, "n_atoms": len(atoms), **medians, "ratio": spread(each)})
    return rows


def cells(quick: bool) -> list[tuple[int, str]]:
    """Numbers of atoms and system of the cells whose gradients are computed."""
    return [(n, system) for n, system in ((30, "Li"), (60, "Li"), (120, "Li"), (120, "Al2O3")) if n <= 60 or not quick]


def cell_and_model(n: int, system: str) -> tuple[Atoms, UncertaintyModel]:
    """One of them, and a model that knows it displaced."""
    atoms = {"Li": lithium_cell, "Al2O3": alumina}[system](n)
    return atoms, UncertaintyModel.fit(
        [rattled(atoms, 0.05, seed) for seed in range(60)], SOAP(species_of(atoms), **BASIS)
    )


def gradients_floor(quick: bool) -> list[dict[str, Any]]:
    """What operations and bytes of the same gradients would take at best."""
    rates, rows = Rates.measured(), []
    for n, system in cells(quick):
        atoms, model = cell_and_model(n, system)
        rows.append({"system": system, "n_atoms": len(atoms)} | gradient_floor(model, atoms, rates))
        print(rows[-1], flush=True)
    return rows


def lithium_cell(n: int) -> Atoms:
    """Lithium of exactly so many atoms."""
    shape = {30: (3, 5, 1), 60: (3, 5, 2), 120: (3, 5, 4)}[n]
    return rattled(crystals.lithium(shape), 0.15, 0)


def substructure(_: bool) -> dict[str, Any]:
    """A crop search around an atom beside a vacancy, and the relaxation of a crop of about 120 atoms."""
    soap = SOAP(["Cu"], **SMALL)
    model = UncertaintyModel.fit([copper(0.1, seed) for seed in range(12)], soap)
    frame = copper(0.1, 50)
    del frame[1000]
    centre = int(np.argmax(model(frame)))
    crops: list = []
    crop_search(model, frame, centre, n_candidates=5, rng=np.random.default_rng(1))  # compile
    search = cpu_seconds(lambda: crops.extend(crop_search(model, frame, centre, rng=np.random.default_rng(0))))
    crop = min(crops, key=lambda entry: abs(len(entry.atoms) - 120))
    found: list = []
    rules = {"max_steps": 100, "cell": True, "threshold": 0.0}
    relax = float(np.median([cpu_seconds(lambda: found.append(relax_shell(model, crop, **rules))) for _ in range(3)]))
    relaxed, steps = found[0], len(found[0].trace) - 1
    before, after = crop.values[crop.shell].mean(), model(relaxed.atoms)[crop.shell].mean()
    print(
        f"\n50-candidate crop search in {len(frame)} atoms {search:.2f} s; {steps} relaxation steps on {len(crop.atoms)} atoms "
        f"{relax:.2f} s (shell {before:.1f} to {after:.2f}; {relaxed.reason}); together {search + relax:.2f} s (goal 5)"
    )
    return {
        "frame_atoms": len(frame), "search_s": search, "n_steps": steps, "crop_atoms": len(crop.atoms), "relax_s": relax,
        "shell_before": before, "shell_after": after,
    }  # fmt: skip


def copper(width: float, seed: int) -> Atoms:
    """Face-centred cubic copper."""
    return rattled(crystals.copper(8), width, seed)


def scale(quick: bool) -> list[dict[str, Any]]:
    """Screening of frames of growing size, each in a process of its own."""
    print(
        "\nscreening Li frames (threshold crossing of every atom), one process each; goals: 60 s, 1.5 GB at 1 024 000"
    )
    print(
        f"{'basis':14s}{'atoms':>9s}{'threads':>8s}{'dtype':>9s}{'s':>8s}{'µs/atom':>9s}{'peak GB':>9s}{'one centre, ms':>16s}"
    )
    sizes = (1_000, 16_000) if quick else (1_000, 16_000, 128_000, 1_024_000)
    runs = [(n, 1, "float64", "5/8/6/0.5") for n in sizes]
    if not quick:
        runs += [(1_024_000, 1, "float32", "5/8/6/0.5"), (1_024_000, 2, "float64", "5/8/6/0.5")]
        runs += [(1_024_000, 1, "float64", "4/6/6/0.4")]
    rows = []
    for n, threads, dtype, basis in runs:
        arguments = [str(n), str(threads), dtype, "small" if basis.startswith("4") else "basis"]
        done = subprocess.run(
            [sys.executable, __file__, "--one-scale", *arguments], capture_output=True, text=True, check=True
        )
        out = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{basis:14s}{out['atoms']:9d}{threads:8d}{dtype:>9s}{out['seconds']:8.1f}{1e6 * out['seconds'] / out['atoms']:9.1f}"
            f"{out['peak_gb']:9.2f}{1e3 * out['one_centre']:16.2f}",
            flush=True,
        )
        rows.append({"basis": basis, "threads": threads, "dtype": dtype, **out})
    return rows


def one_scale(n: int, threads: int, dtype: str, basis: str) -> None:
    """One line of :func:`scale`, as JSON."""
    numba.set_num_threads(threads)
    model = UncertaintyModel.fit(
        [lithium(432, seed) for seed in range(10)],
        SOAP(["Li"], **(SMALL if basis == "small" else BASIS), dtype=dtype),
    )
    model(lithium(1_000, 3))
    before = peak_gb()
    frame = lithium(n, seed=1)
    found: list[np.ndarray] = []
    clock = cpu_seconds if threads == 1 else seconds
    spent = clock(lambda: found.append(model(frame)))
    prepared = model.soap.prepare(frame)
    one = min(clock(lambda i=i: model(prepared, [i * len(frame) // 20])) for i in range(20))
    print(
        json.dumps(
            {"atoms": len(frame), "seconds": spent, "peak_gb": peak_gb(), "before_gb": before, "one_centre": one}
        )
    )


def peak_gb() -> float:
    """Highest resident memory of this process (Linux), GB; rusage would give the parent's, if that was higher."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e9


def coverage(_: bool) -> list[dict[str, Any]]:
    """What coverage costs with many centres."""
    model = UncertaintyModel.fit([lithium(432, seed) for seed in range(20)], SOAP(["Li"], **SMALL))
    frame = lithium(2_000, seed=9)
    model(frame)
    print("\ncoverage of 2 000 uncertain atoms, ms, by the number of covering centres")
    alone = min(cpu_seconds(lambda: model(frame)) for _ in range(3))
    rows = []
    for n in (10, 100, 1_000, 10_000):
        covering = model.copy()
        while covering.n_covered["Li"] < n:
            source = lithium(2_000, seed=100 + covering.n_covered["Li"])
            covering.cover(source, np.arange(min(len(source), n - covering.n_covered["Li"])))
        covering.covered(frame, 2.0)
        spent = min(cpu_seconds(lambda c=covering: c.covered(frame, 2.0)) for _ in range(3))
        print(f"{n:7d}{1e3 * spent:9.1f}   ({spent / alone:.1f} times the screening of the same atoms)", flush=True)
        rows.append({"n_covering": n, "ms": 1e3 * spent, "over_screening": spent / alone})
    return rows


def metals(n_atoms: int, seed: int = 0) -> Atoms:
    """A random alloy of four metals."""
    atoms = repeated(bulk("Cu", cubic=True), n_atoms)
    atoms.symbols = np.random.default_rng(seed).choice(["Ag", "Al", "Cu", "Ni"], len(atoms))
    return rattled(atoms, 0.1, seed)


def profile(_: bool) -> dict[str, Any]:
    """Where the time of one screened atom of lithium goes."""
    return profiled("lithium", [lithium(432, seed) for seed in range(20)], lithium(16_000))


def profile_four(_: bool) -> dict[str, Any]:
    """Where the time of one screened atom goes in an alloy of four metals, some 2 000 environments of each known."""
    return profiled("an alloy of four metals", [metals(500, seed) for seed in range(16)], metals(4_000, 99))


def profiled(name: str, trained: list[Atoms], atoms: Atoms) -> dict[str, Any]:
    """Where the time of one screened atom goes, and what the same arithmetic would take at this core's matrix product."""
    print(
        f"\nwhere the time goes: {name}, {len(atoms)} atoms, one thread, float64, µs of CPU an atom; arithmetic in kflop an atom"
    )
    species = tuple(sorted(set(atoms.get_chemical_symbols())))
    soap = SOAP(list(species), **BASIS)
    model = UncertaintyModel.fit(trained, soap)
    frame = soap.prepare(atoms)
    blocks = blocks_of(len(frame))
    pairs = [frame.grid.pairs(block) for block in blocks]
    densities = [expansion(soap, frame, p, b) for p, b in zip(pairs, blocks, strict=True)]
    vectors = [invariants(soap, d, len(b)) for d, b in zip(densities, blocks, strict=True)]
    n_pairs = sum(len(p.j) for p in pairs) / len(frame)
    known = KnownEnvironments(species, soap.n_features, pooled=False, relative_cut=model.relative_cut, seed=0)
    for one in trained:
        prepared = soap.prepare(one)
        known.join(soap(prepared), prepared.kinds)
    metrics = [known.left_out()[symbol].whitener for symbol in species]
    of_kind = [
        [v[frame.kinds[block] == kind] for v, block in zip(vectors, blocks, strict=True)]
        for kind in range(len(species))
    ]
    share = np.bincount(frame.kinds, minlength=len(species)) / len(frame)
    k = float(share @ [len(metric.directions) for metric in metrics])
    per_pair = soap_pair(soap.n_max, soap.l_max)
    stages: dict[str, tuple[Callable[[], object], float]] = {
        "neighbours": (lambda: [frame.grid.pairs(block) for block in blocks], 0.0),
        "density": (
            lambda: [expansion(soap, frame, p, b) for p, b in zip(pairs, blocks, strict=True)],
            n_pairs * per_pair,
        ),
        "power spectrum": (
            lambda: [invariants(soap, d, len(b)) for d, b in zip(densities, blocks, strict=True)],
            soap_spectrum(soap.n_max, soap.l_max, len(species)),
        ),
        "whitening": (
            lambda: [metric.squared(v) for metric, some in zip(metrics, of_kind, strict=True) for v in some],
            distance(k, soap.n_features),
        ),
    }
    rate = matrix_product_rate()
    floor, rows = 0.0, []
    for stage, (work, flop) in stages.items():
        spent = 1e6 * min(cpu_seconds(work) for _ in range(15)) / len(frame)
        at_best = 1e6 * flop / rate
        floor += at_best
        print(
            f"{stage:16s}{spent:6.2f}   {1e-3 * flop:6.1f} kflop, {flop / spent * 1e-3:5.1f} Gflop/s, at best {at_best:5.2f} µs"
        )
        rows.append({"stage": stage, "us": spent, "kflop": 1e-3 * flop, "floor_us": at_best})
    whole = 1e6 * min(cpu_seconds(lambda: model(frame)) for _ in range(15)) / len(frame)
    per_row, table_kib = 6 * soap.n_max * (soap.l_max + 1) * NUMBER, soap.tables["float64"].coefficients.nbytes / 1024
    print(
        f"{'all of it':16s}{whole:6.2f}   floor of the arithmetic {floor:.2f} µs (matrix product: {1e-9 * rate:.0f} Gflop/s), "
        f"ratio {whole / floor:.1f}\n{n_pairs:.0f} pairs an atom, k = {k:.0f}; a pair: {per_pair} flop, 32 bytes of its own, a "
        f"row of {per_row} bytes of the splines' table of {table_kib:.0f} KiB"
    )
    return {
        "stages": rows, "whole_us": whole, "product_gflops": 1e-9 * rate, "n_pairs": n_pairs, "dimensions": round(k),
        "pair_flop": per_pair, "row_bytes": per_row, "table_kib": table_kib,
    }  # fmt: skip


def expansion(soap: SOAP, frame: PreparedFrame, pairs: Pairs, block: np.ndarray) -> np.ndarray:
    """Coefficients of the density of a block's atoms, flat."""
    table, n_pad = soap.tables[soap.dtype], len(soap.at_centre)
    out = aligned(len(block) * len(soap.species) * (soap.l_max + 1) ** 2 * n_pad, soap.dtype)
    density(
        pairs.offsets, pairs.vec, frame.kinds[pairs.j], frame.kinds[block], soap.at_centre,
        table.coefficients, table.origin, table.inverse_step, harmonic_constants(soap.l_max, soap.dtype),
        soap.l_max, soap.n_max, out,
    )  # fmt: skip
    return out


def invariants(soap: SOAP, coefficients: np.ndarray, n_atoms: int) -> np.ndarray:
    """Their power spectra, (n_atoms, n_features)."""
    out = np.empty((n_atoms, soap.n_features))
    power_spectrum(coefficients, n_atoms, soap.pairs, soap.n_max, len(soap.at_centre), soap.l_max, out)
    return out


PARTS = {
    "values": values,
    "gradients": gradients,
    "values_floor": values_floor,
    "gradients_floor": gradients_floor,
    "substructure": substructure,
    "scale": scale,
    "coverage": coverage,
    "profile": profile,
    "profile_four": profile_four,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="The uncertainty engine against DScribe.")
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    add_out(parser)
    parser.add_argument("--one-scale", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    one_thread()
    if arguments.one_scale:
        n, threads, dtype, basis = arguments.one_scale
        one_scale(int(n), int(threads), dtype, basis)
        return
    for name in arguments.only:
        keep(arguments.out, **{name: PARTS[name](arguments.quick)})


if __name__ == "__main__":
    main()
