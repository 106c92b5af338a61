"""The report of a large campaign: how large the page is, how long it takes to write, to open, and to pick a substructure.

    python workflows/benchmarks/report_page.py first [--substructures 10000] [--atoms 148]
        [--out workflows/benchmarks/results/report_page.json]

`first` is the folder of a finished campaign, such as the tutorial's. In a copy of it the campaign's rounds are repeated
(screens, updates, substructures with their crops, relaxations and frames), with numbers and keys of their own, until there
are as many substructures as asked for; each has a cell of disordered copper, drawn anew. The page is written by `idealflow
report`, a process of its own, and opened from its file in a headless Chromium without network: "ready" is the time from the
navigation to the page with its first substructure told, "pick" the time until another substructure is drawn and its story
told; as wall time (medians), and as processor time of the page's main thread and of all of Chromium's processes, which
depend less on what else the machine does. Chromium draws in software here, in a process of its own: with a graphics card
that part is gone.
"""

from __future__ import annotations

import argparse
import copy
import itertools
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
from idealflow.workflow.folder.directory import CampaignDirectory
from workbench.browser import Browser, browser
from workbench.keeping import add_out, keep

READY = "document.documentElement.dataset.ready"
TOLD = "document.querySelector('#gallery').dataset.told"
BATCH = 500  # documents written at once


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


def copies(documents: list[dict[str, Any]], n: int, n_atoms: int) -> Iterator[dict[str, Any]]:
    """The campaign's rounds again and again, numbered on, until there are ``n`` substructures."""
    rng = np.random.default_rng(0)
    rounds = 1 + max(document["output"]["round"] for document in documents)
    steps = 10 + max(document["output"].get("step", 0) for document in documents)
    made = 0
    for copied in range(1, n + 1):
        for original in documents:
            document = copy.deepcopy(original)
            output = document["output"]
            document["uuid"] = f"{original['uuid']}-{copied}"
            output["round"] += copied * rounds
            if "step" in output:
                output["step"] += copied * steps
            if output["kind"] == "update":
                for name in ("accepted", "learned"):
                    output[name] = [f"{key}/copy{copied:06d}" for key in output[name]]
            if output["kind"] == "substructure":
                if made == n:
                    continue
                made += 1
                as_another(output, copied, liquid_cell(n_atoms, rng), rng)
            yield document
        if made == n:
            return


def as_another(output: dict[str, Any], copied: int, cell: dict[str, Any], rng: np.random.Generator) -> None:
    """Make a substructure one of its own."""
    n_atoms = len(cell["numbers"])
    output["uuid"] += f"-{copied}"
    output["request_key"] += f"/copy{copied:06d}"
    output["core"], output["centre"], output["n_atoms"] = cell.pop("core"), cell.pop("centre"), n_atoms
    output["structure"] |= cell
    output["parent_indices"] = [int(i) for i in rng.integers(0, 200, n_atoms)]
    output["forces"] = rng.normal(scale=0.5, size=(n_atoms, 3)).tolist()


def enlarged(source: Path, folder: Path, n: int, n_atoms: int) -> None:
    """Copy a campaign and give it so many substructures more."""
    shutil.copytree(source, folder)
    campaign = Campaign.open(source)
    query = {"output.campaign": campaign.name, "output.kind": {"$in": ["screen", "substructure", "update"]}}
    documents = list(campaign.store.query(query, sort={"output.round": 1}))
    for document in documents:
        document.pop("_id", None)
    store = CampaignDirectory(folder).job_store()
    for batch in batched(copies(documents, n, n_atoms)):
        store.update(batch, key=["uuid", "index"])
    store.close()


def batched(documents: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Lists of some documents."""
    while batch := list(itertools.islice(documents, BATCH)):
        yield batch


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


def spent(chromium: Browser) -> tuple[float, float]:
    """Processor time so far, s: of the page's main thread, and of all of Chromium's processes."""
    found = chromium.call("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in found if one["name"] == "TaskDuration")), chromium.processor_time()


def opened(chromium: Browser, page: Path) -> tuple[float, float, float]:
    """Wall time, and processor time of the main thread and of all, from the navigation to the first substructure told, s."""
    chromium.open("about:blank")
    _, before = spent(chromium)
    chromium.open(page.resolve().as_uri())
    chromium.wait(f"{READY} && {TOLD}")
    drawn = (
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() / 1000))))"
    )
    wall = float(chromium.run(drawn))
    main, whole = spent(chromium)  # the main thread's began with the page
    return wall, main, whole - before


def picked(chromium: Browser, n_picks: int) -> tuple[float, float, float]:
    """The same of one pick (median of the wall times), of substructures all over the list; a frame is drawn between two."""
    chromium.run("window.gallery.scene.turn(false)")  # a turning scene takes time by itself
    before = spent(chromium)
    script = (  # one at a time: no answer takes longer than Chromium is waited for
        "(async k => {{ const g = window.gallery, n = g.c.uuid.length; "
        "const i = Math.floor(k * n / ({n} + 1)), before = performance.now(); "
        "await g.pick(i); const took = (performance.now() - before) / 1000; "
        "await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))); return took; }})({k})"
    )
    times = [float(chromium.run(script.format(n=n_picks, k=k))) for k in range(1, n_picks + 1)]
    main, whole = (float(after - was) / n_picks for after, was in zip(spent(chromium), before, strict=True))
    return statistics.median(times), main, whole


def looked_at(page: Path, profile: Path, openings: int, picks: int) -> dict[str, float]:
    """Open the page some times, and pick."""
    with browser(profile) as chromium:
        chromium.size(1200)
        chromium.call("Performance.enable", timeDomain="threadTicks")
        times = [opened(chromium, page) for _ in range(openings)]
        ready = [statistics.median(part) for part in zip(*times, strict=True)]
        row = dict(zip(("ready_s", "ready_main_s", "ready_all_s"), ready, strict=True))
        pick = [1e3 * value for value in picked(chromium, picks)]
        row |= dict(zip(("pick_ms", "pick_main_ms", "pick_all_ms"), pick, strict=True))
        if chromium.errors:
            raise SystemExit(f"the page said: {chromium.errors}")
    return row | {"load": os.getloadavg()[0]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", type=Path)
    parser.add_argument("--substructures", type=int, default=10_000)
    parser.add_argument("--atoms", type=int, default=148)
    parser.add_argument("--openings", type=int, default=3)
    parser.add_argument("--picks", type=int, default=100)
    parser.add_argument("--page", type=Path, help="keep the page there; one that is there already is only opened")
    add_out(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, page = Path(scratch) / "campaign", arguments.page or Path(scratch) / "report.html"
        found: dict[str, dict[str, Any]] = {}
        if not page.exists():
            enlarged(arguments.campaign, folder, arguments.substructures, arguments.atoms)
            size = {"substructures": arguments.substructures, "atoms": arguments.atoms}
            found["page"] = size | written(folder, page) | {"load": os.getloadavg()[0]}
            keep(arguments.out, page=found["page"])  # whatever becomes of the opening
        found["opening"] = looked_at(page, Path(scratch) / "profile", arguments.openings, arguments.picks)
    for part, row in found.items():
        for name, value in row.items():
            print(f"{part:8s} {name:14s} {value:.4g}")
    keep(arguments.out, opening=found["opening"])


if __name__ == "__main__":
    main()
