"""The report of a large campaign: how large the page is, how long it takes to write, to open, and to pick a substructure.

    python workflows/benchmarks/report_page.py first [--substructures 10000] [--atoms 148]
        [--out workflows/benchmarks/results/report_page.json]

`first` is the folder of a finished campaign, such as the tutorial's. A copy of it gets as many substructures as asked for: documents as
the campaign has them (with their crops, relaxations and frames), jobs and keys of their own, and cells of liquid copper of
as many atoms as asked for, every one drawn anew. The page is written by `idealflow report`, a process of its own, and opened from its file
in a headless Chromium without network: "ready" is the time from the navigation to the page with its figures and its first substructure
told, "pick" the time until another substructure is drawn and its story told. Chromium draws in software here; with a GPU it is quicker.
"""

from __future__ import annotations

import argparse
import copy
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk

from idealflow.provenance import Campaign
from workbench.browser import Browser, browser
from workbench.keeping import add_out, keep

READY = "document.documentElement.dataset.ready"
TOLD = "document.querySelector('#gallery').dataset.told"
BATCH = 500  # documents written at once
WALL_S = "performance.now() / 1000"


def liquid_cell(n_atoms: int, rng: np.random.Generator) -> dict[str, Any]:
    """Positions, numbers and cell of a disordered copper cell of ``n_atoms``."""
    repeat = int(np.ceil((n_atoms / 4) ** (1 / 3)))
    atoms = bulk("Cu", a=3.8, cubic=True) * repeat
    del atoms[rng.permutation(len(atoms))[n_atoms:]]
    atoms.positions += rng.normal(scale=0.6, size=(n_atoms, 3))
    lengths = atoms.cell.lengths()
    centre = int(np.argmin(((atoms.positions - lengths / 2) ** 2).sum(axis=1)))
    near = ((atoms.positions - atoms.positions[centre]) ** 2).sum(axis=1)
    return {
        "positions": atoms.positions.tolist(),
        "numbers": atoms.numbers.tolist(),
        "cell": atoms.cell.array.tolist(),
        "core": sorted(int(i) for i in np.argsort(near)[:43]),
        "centre": centre,
    }


def copies(originals: list[dict[str, Any]], n: int, n_atoms: int) -> Iterator[dict[str, Any]]:
    """Substructure documents with jobs, keys and cells of their own."""
    rng = np.random.default_rng(0)
    for number in range(n):
        document = copy.deepcopy(originals[number % len(originals)])
        document.pop("_id", None)
        output, cell = document["output"], liquid_cell(n_atoms, rng)
        document["uuid"] = output["uuid"] = f"{document['uuid']}-{number}"
        output["request_key"] += f"/copy{number:06d}"
        output["core"], output["centre"], output["n_atoms"] = cell.pop("core"), cell.pop("centre"), n_atoms
        output["structure"] |= cell
        output["parent_indices"] = [int(i) for i in rng.integers(0, 200, n_atoms)]
        output["forces"] = rng.normal(scale=0.5, size=(n_atoms, 3)).tolist()
        yield document


def enlarged(source: Path, folder: Path, n: int, n_atoms: int) -> None:
    """Copy a campaign and give it so many substructures more."""
    shutil.copytree(source, folder)
    campaign = Campaign.open(source)
    query = {"output.campaign": campaign.name, "output.kind": "substructure", "output.state": "accepted"}
    originals = list(campaign.store.query(query))
    from idealflow.workflow.folder.directory import CampaignDirectory

    store = CampaignDirectory(folder).job_store()
    batch: list[dict[str, Any]] = []
    for document in copies(originals, n, n_atoms):
        batch.append(document)
        if len(batch) == BATCH:
            store.update(batch, key=["uuid", "index"])
            batch = []
    store.update(batch, key=["uuid", "index"])
    store.close()


def written(folder: Path, page: Path) -> dict[str, float]:
    """Write the page as a user does; wall and processor time (s), most memory (GB), and size (MB)."""
    command = [sys.executable, "-m", "idealflow.cli", "report", str(folder), "--to", str(page)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "write_wall_s": wall,
        "write_cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "write_peak_gb": after.ru_maxrss * 1024 / 1e9,
        "size_mb": page.stat().st_size / 1e6,
    }


def opened(chromium: Browser, page: Path) -> float:
    """Seconds from the navigation to the page with its first substructure told."""
    chromium.open(page.as_uri())
    chromium.wait(f"{READY} && {TOLD}")
    return float(
        chromium.run(
            f"new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done({WALL_S}))))"
        )
    )


def picked(chromium: Browser, n_picks: int) -> list[float]:
    """Seconds that picks take, of substructures all over the list, until each is drawn and told."""
    script = (
        "(async () => { const g = window.gallery, n = g.c.uuid.length, times = []; "
        f"for (let k = 1; k <= {n_picks}; k++) {{ "
        f"const i = Math.floor(k * n / ({n_picks} + 1)), before = performance.now(); "
        "await g.pick(i); times.push((performance.now() - before) / 1000); "
        "await new Promise(done => requestAnimationFrame(done)); } return times; })()"
    )
    return [float(value) for value in chromium.run(script)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", type=Path)
    parser.add_argument("--substructures", type=int, default=10_000)
    parser.add_argument("--atoms", type=int, default=148)
    parser.add_argument("--openings", type=int, default=5)
    parser.add_argument("--picks", type=int, default=100)
    parser.add_argument("--page", type=Path, help="keep the page there")
    add_out(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, page = Path(scratch) / "campaign", Path(scratch) / "report.html"
        enlarged(arguments.campaign, folder, arguments.substructures, arguments.atoms)
        row: dict[str, Any] = {"substructures": arguments.substructures, "atoms": arguments.atoms}
        row |= written(folder, page)
        with browser(Path(scratch) / "profile") as chromium:
            chromium.size(1200)
            openings = [opened(chromium, page) for _ in range(arguments.openings)]
            row |= {"ready_s": statistics.median(openings), "ready_longest_s": max(openings)}
            picks = picked(chromium, arguments.picks)
            row |= {"pick_ms": 1e3 * statistics.median(picks), "pick_longest_ms": 1e3 * max(picks)}
            errors = list(chromium.errors)
        if arguments.page is not None:
            shutil.copyfile(page, arguments.page)
    if errors:
        raise SystemExit(f"the page said: {errors}")
    row["load"] = os.getloadavg()[0]
    for name, value in row.items():
        print(f"{name:18s} {value:.4g}")
    keep(arguments.out, page=row)


if __name__ == "__main__":
    main()
