"""Our descriptors beside those of other programs: values, and values with gradients.

    python workflows/benchmarks/other_descriptors.py --python ENV/bin/python [--quick]
        [--out workflows/benchmarks/results/other_descriptors.json]

``ENV`` is an environment with `featomic` and `quippy-ase` (`pip install featomic quippy-ase`), which are asked in processes of
their own, in turns with ours and DScribe's; CPU time, one thread. SOAP of r_cut 5 Å, n_max 8, l_max 6, sigma 0.5 Å; the others,
whose basis is another one, have as many functions and the same true cutoff. DScribe differentiates periodic cells by differences.
Its analytic derivatives are of open structures: they are taken with every image within the cutoff as an atom, and added up;
they are compared with ours to 1e-6. Other programs return the derivative of every feature, which we never make: ours is that of
one scalar of all of them, as relaxation needs it, with the cell's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dscribe.descriptors
import numpy as np
from ase import Atoms
from ase.io import write
from many_species import frame_of
from uncertainty_engine import BASIS, alumina, lithium_cell, species_of

from idealflow.core import SOAP
from idealflow.core.descriptors import neighbour_pairs
from idealflow.core.descriptors.oracle import DScribeSOAP
from workbench import other_soap
from workbench.keeping import add_out, keep
from workbench.threads import one_thread
from workbench.timing import cpu_seconds, ratio_text, spread

PROGRAMS = ("featomic", "quippy")
CHUNK = 8  # centres whose derivatives are in memory at once


class Program:
    """Another program, waiting in its process; a context.

    Parameters
    ----------
    python
        The interpreter that has it.
    name
        ``featomic`` or ``quippy``.
    atoms, soap
        The structure, and whose cutoff and sizes to take.
    """

    def __init__(self, python: str, name: str, atoms: Atoms, soap: SOAP) -> None:
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "atoms.extxyz"
        write(path, atoms)
        basis = map(str, (soap.cutoff, soap.n_max, soap.l_max, soap.sigma))
        self._process = subprocess.Popen(
            [python, other_soap.__file__, name, str(path), *basis],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._process.communicate()
        self._folder.cleanup()

    def seconds(self, what: str) -> float:
        """CPU seconds of one call."""
        asked, answers = self._process.stdin, self._process.stdout
        if asked is None or answers is None:
            raise RuntimeError("the process has no pipes")
        asked.write(f"{what}\n")
        asked.flush()
        return float(answers.readline())


def with_images(atoms: Atoms, cutoff: float) -> tuple[Atoms, np.ndarray]:
    """An open structure of the cell's atoms and every image within the cutoff of one; the atom each is an image of."""
    pairs = neighbour_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    images = np.unique(np.column_stack([pairs.j, pairs.shift]), axis=0)
    images = images[images[:, 1:].any(axis=1)]
    positions = atoms.positions[images[:, 0]] + images[:, 1:] @ atoms.cell.array
    parents = np.concatenate([np.arange(len(atoms)), images[:, 0]])
    return Atoms(atoms.numbers[parents], np.concatenate([atoms.positions, positions])), parents


def analytic(atoms: Atoms, soap: SOAP, weights: np.ndarray) -> np.ndarray:
    """Gradient (n, 3) of Σ weights · descriptors by DScribe's analytic derivatives on explicit images."""
    settings: dict[str, Any] = {name: getattr(soap, name) for name in BASIS}
    theirs = dscribe.descriptors.SOAP(species=list(soap.species), rbf="gto", periodic=False, **settings)
    opened, parents = with_images(atoms, soap.cutoff)
    found = np.zeros((len(atoms), 3))
    for start in range(0, len(atoms), CHUNK):
        centres = list(range(start, min(start + CHUNK, len(atoms))))
        slopes, _ = theirs.derivatives(opened, centers=centres, method="analytical", attach=True)
        np.add.at(found, parents, np.einsum("if,iaxf->ax", weights[centres], slopes))
    return found


def cases(quick: bool) -> list[tuple[str, Atoms, Atoms]]:
    """Names, a structure for values and a small cell for gradients: one to four species."""
    n = 500 if quick else 2_000
    alloys = [(f"{n_species} species", frame_of(n_species, n, 1), frame_of(n_species, 60, 1)) for n_species in (3, 4)]
    return [("Li", frame_of(1, n, 1), lithium_cell(60)), ("Al2O3", alumina(n), alumina(60)), *alloys]


def values(python: str, quick: bool) -> list[dict[str, Any]]:
    """Descriptors of every atom, µs per atom."""
    rows = []
    for name, atoms, _ in cases(quick):
        soap = SOAP(species_of(atoms), **BASIS)
        oracle = DScribeSOAP(soap)
        calls = {"dscribe": lambda o=oracle, a=atoms: cpu_seconds(lambda: o(a))}
        rows.append(
            in_turns(python, name, atoms, soap, "values", lambda s=soap, a=atoms: s(a), calls, 1e6 / len(atoms))
        )
    return rows


def gradients(python: str, quick: bool) -> list[dict[str, Any]]:
    """Values and gradients of a periodic cell, ms."""
    rows = []
    for name, _, atoms in cases(quick):
        soap = SOAP(species_of(atoms), **BASIS)
        weights = np.random.default_rng(0).normal(size=(len(atoms), soap.n_features))
        oracle = DScribeSOAP(soap)

        def ours(s: SOAP = soap, a: Atoms = atoms, w: np.ndarray = weights) -> np.ndarray:
            return s.pull_back(a, None, lambda part, _: w[part])[0]

        theirs = analytic(atoms, soap, weights)
        apart = np.abs(ours() - theirs).max() / np.abs(theirs).max()
        if apart > 1e-6:
            raise SystemExit(f"{name}: gradients differ by {apart:.1e} from DScribe's analytic ones")
        calls = {
            "dscribe": lambda o=oracle, a=atoms: cpu_seconds(lambda: o.derivatives(a)),
            "dscribe_analytic": lambda a=atoms, s=soap, w=weights: cpu_seconds(lambda: analytic(a, s, w)),
        }
        rows.append(in_turns(python, name, atoms, soap, "gradients", ours, calls, 1e3) | {"apart": apart})
    return rows


def in_turns(
    python: str,
    name: str,
    atoms: Atoms,
    soap: SOAP,
    what: str,
    ours: Callable[[], object],
    calls: dict[str, Callable[[], float]],
    scale: float,
) -> dict[str, Any]:
    """One row: ours and all others one after the other, some times; ours is the median of five calls a turn."""
    ours()
    with Program(python, "featomic", atoms, soap) as featomic, Program(python, "quippy", atoms, soap) as quippy:
        for program in (featomic, quippy):
            program.seconds(what)  # compile, read, allocate
        everyone = calls | {"featomic": lambda: featomic.seconds(what), "quippy": lambda: quippy.seconds(what)}
        turns = [
            {"ours": float(np.median([cpu_seconds(ours) for _ in range(5)]))}
            | {key: call() for key, call in everyone.items()}
            for _ in range(3)
        ]
    row: dict[str, Any] = {"system": name, "n_atoms": len(atoms), "n_species": len(soap.species)}
    for key in turns[0]:
        row[key] = scale * float(np.median([turn[key] for turn in turns]))
        if key != "ours":
            ratios = np.array([turn[key] / turn["ours"] for turn in turns])
            row[f"{key}_ratio"] = spread(ratios)
            line = f"{name:12s}{len(atoms):6d} {what:10s} {key:18s}{row[key]:10.1f}{row['ours']:9.2f}"
            print(line, ratio_text(ratios), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description="Our descriptors beside those of other programs.")
    parser.add_argument("--python", required=True, help="an interpreter that has featomic and quippy")
    parser.add_argument("--quick", action="store_true", help="small frames only")
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    for part in (values, gradients):
        keep(arguments.out, **{part.__name__: part(arguments.python, arguments.quick)})


if __name__ == "__main__":
    main()
