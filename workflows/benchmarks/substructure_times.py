"""Seconds that a substructure of a particle in gas takes, its search and its relaxation, by this version and by another one.

    python workflows/benchmarks/substructure_times.py [--against FOLDER/src] [--centres 21] [--case FOLDER] [--out FILE.json]

The centres of the iridium particle in gas of `surfaces.py` (three species; faces, edges and vertices), each with the defaults.
Both versions are processes of their own, which take turns centre by centre, so that a busy machine slows both. Kept for each
centre and version: processor seconds of the search and of all relaxations, how many cells were relaxed and by how many
evaluations, atoms of the best, its shell and core over the frame's own. With ``--case`` the frame is kept in a folder, or read
from it, and with ``--skip`` a run goes on with later centres of each group; rows are added to those that are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import read
from surfaces import BUDGET, gas_particle_in

from idealflow.core import SOAP, UncertaintyModel, crop_search, embed
from workbench.keeping import add_out, keep
from workbench.systems import SOAP_SETTINGS
from workbench.threads import one_thread


def serve(folder: Path) -> None:
    """Cut and relax a cell around each atom that is named on standard input; a line of JSON for each."""
    known, frame = read(folder / "known.extxyz", ":"), read(folder / "frame.extxyz")
    u = UncertaintyModel.fit(known, SOAP(species=["H", "N", "Ir"], **SOAP_SETTINGS))
    for line in sys.stdin:
        atom = int(line)
        started = time.process_time()
        crops = crop_search(u, frame, atom, rng=np.random.default_rng([0, atom]), max_atoms=BUDGET)
        searched = time.process_time()
        tried = embed(u, crops)
        ended = time.process_time()
        best = tried[0].relaxed
        row = {
            "search_s": searched - started, "relax_s": ended - searched, "n_cells": len(tried),
            "n_steps": sum(one.relaxed.n_steps for one in tried), "n_atoms": len(best.atoms),
            "shell": best.shell_ratio, "core": best.core_worsening,
        }  # fmt: skip
        print(json.dumps(row), flush=True)


def started(source: Path, folder: Path) -> subprocess.Popen[str]:
    """A process that serves by the package in a folder."""
    paths = [str(source), str(Path(__file__).resolve().parents[1])]
    command = [sys.executable, __file__, "--serve", str(folder)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def asked(process: subprocess.Popen[str], atom: int) -> dict[str, Any]:
    """The row of one centre."""
    line = ""
    if process.stdin and process.stdout:
        process.stdin.write(f"{atom}\n")
        process.stdin.flush()
        line = process.stdout.readline()
    if not line:
        raise SystemExit(f"a process ended at atom {atom}, with code {process.wait()}")
    found: dict[str, Any] = json.loads(line)
    return found


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="folder `src` of another checkout of the package")
    parser.add_argument("--centres", type=int, default=21, help="in equal parts of faces, edges and vertices")
    parser.add_argument("--skip", type=int, default=0, help="so many centres of each group")
    parser.add_argument("--case", type=Path, help="folder in which the frame is kept, or found")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    if arguments.serve:
        serve(arguments.serve)
        return
    versions = {"now": Path(__file__).resolve().parents[2] / "src"}
    if arguments.against:
        versions = {"before": arguments.against.absolute()} | versions
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.case or Path(name)
        groups = gas_particle_in(folder).groups
        running = {version: started(source, folder) for version, source in versions.items()}
        share = -(-arguments.centres // len(groups))
        rows: list[dict[str, Any]] = []
        for group, members in groups.items():
            for atom in np.random.default_rng(0).permutation(members)[arguments.skip :][:share].tolist():
                if not rows:  # compiled code is loaded
                    for process in running.values():
                        asked(process, atom)
                rows.append({"atom": atom, "group": group} | {v: asked(each, atom) for v, each in running.items()})
                print(rows[-1], flush=True)
        for process in running.values():
            process.communicate()
    if arguments.skip and arguments.out and arguments.out.exists():
        rows = json.loads(arguments.out.read_text())["rows"] + rows
    keep(arguments.out, rows=rows)


if __name__ == "__main__":
    main()
