"""How soon `idealflow watch` shows a new round of a running campaign: in what the server tells, and on the page in a browser.

    python workflows/benchmarks/watch_delay.py docs/examples/first.yaml [--out workflows/benchmarks/results/watch_delay.json]

The campaign runs as a user runs it (`idealflow run`), and `idealflow watch` beside it; a headless Chromium without network has
the page open from the first documents on. A round's delay is the time from its commit, which the state's document has as
`completed_at`, to the first message of the server that tells of it or a later one, and to the moment at which the page has
drawn it or a later one: the head, the substructures and all figures but those of the sections that take seconds (parity,
the map of environments), which no round waits for. The bootstrap's commit counts as a round. The browser asks for pages in
which nothing moves by itself: it draws in software here, and a substructure that turns would take all of a core. Beside wall
times, which grow with what else the machine does, stand the processor times of one drawing: of the page's main thread, and of
the server, messages included.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from idealflow.errors import IdealflowError
from idealflow.provenance import Campaign
from workbench.browser import Browser, browser
from workbench.keeping import add_out, keep

PROGRAM = (sys.executable, "-m", "idealflow.cli")
READY = "document.documentElement.dataset.ready"
#: notes in the page when each round was drawn
WATCHER = (
    "window.drawn = {[document.documentElement.dataset.round]: Date.now()};"
    "new MutationObserver(() => { window.drawn[document.documentElement.dataset.round] ??= Date.now(); })"
    ".observe(document.documentElement, {attributes: true, attributeFilter: ['data-round']}); true"
)


def started(folder: Path, run: subprocess.Popen[Any]) -> None:
    """Wait until the campaign has stored something that can be watched."""
    while run.poll() is None:
        try:
            Campaign.open(folder)
        except IdealflowError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"the campaign ended with status {run.returncode} before it stored anything")


def told(address: str, first: dict[int, float]) -> None:
    """Note when the server tells of each round, until it ends."""
    with urlopen(f"{address}events") as answer:  # noqa: S310  # an address of this machine, which `watch` printed
        for line in answer:
            if line.startswith(b"data: "):
                for stamp in json.loads(line[len(b"data: ") :]):
                    first.setdefault(int(stamp["round"]), time.time())


def delays(commits: dict[int, float], seen: dict[int, float], since: float) -> list[float]:
    """Seconds from each commit after ``since`` to the moment at which its round or a later one was seen."""
    found = []
    for number, moment in sorted(commits.items()):
        after = [at for other, at in seen.items() if other >= number]
        if moment >= since and after:
            found.append(min(after) - moment)
    return found


def committed(folder: Path) -> dict[int, float]:
    """When each round was committed."""
    campaign = Campaign.open(folder)
    query = {"output.kind": "state", "output.campaign": campaign.name}
    entries = campaign.store.query(query, properties=["output.round", "completed_at"])
    return {entry["output"]["round"]: moment(entry["completed_at"]) for entry in entries}


def moment(stamp: str | datetime) -> float:
    """Seconds since 1970 of a stored time, which is local where it names no zone."""
    return (datetime.fromisoformat(stamp) if isinstance(stamp, str) else stamp).timestamp()


def watched(config: Path, folder: Path, profile: Path) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Run the campaign and watch it: delays of the server's messages and of the page, and what a drawing costs."""
    run = subprocess.Popen([*PROGRAM, "run", str(config), "--out", str(folder), "--quiet"], stdout=subprocess.DEVNULL)
    started(folder, run)
    watch = subprocess.Popen([*PROGRAM, "watch", str(folder), "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        found = re.search(r"http://\S+", watch.stdout.readline() if watch.stdout else "")
        if found is None:
            raise SystemExit("`idealflow watch` printed no address")
        heard: dict[int, float] = {}
        threading.Thread(target=told, args=(found[0], heard), daemon=True).start()
        with browser(profile) as chromium:
            chromium.size(1200, still=True)
            chromium.call("Performance.enable", timeDomain="threadTicks")
            chromium.open(found[0])
            chromium.wait(READY)
            chromium.run(WATCHER)
            since, before = time.time(), (main_thread(chromium), processor_time(watch.pid))
            if run.wait():
                raise SystemExit(f"the campaign ended with status {run.returncode}")
            drawn = seen_by(chromium, max(committed(folder)))
            after = main_thread(chromium), processor_time(watch.pid)
    finally:
        for process in (run, watch):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait()
    commits, n = committed(folder), max(1, len(drawn) - 1)
    spent = dict(
        zip(("page_cpu_s", "server_cpu_s"), ((b - a) / n for a, b in zip(before, after, strict=True)), strict=True)
    )
    return {"server": delays(commits, heard, since), "page": delays(commits, drawn, since)}, {"drawings": n, **spent}


def main_thread(chromium: Browser) -> float:
    """Processor time of the page's main thread so far, s."""
    found = chromium.call("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in found if one["name"] == "TaskDuration"))


def processor_time(pid: int) -> float:
    """Processor time of a process so far, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def seen_by(chromium: Browser, last: int) -> dict[int, float]:
    """When the page had drawn each round, once it has drawn the last one."""
    chromium.wait(f"{last} in window.drawn")
    if chromium.errors:
        raise SystemExit(f"the page said: {chromium.errors}")
    return {int(number): at / 1e3 for number, at in chromium.run("window.drawn").items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    add_out(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found, spent = watched(arguments.config, Path(scratch) / "campaign", Path(scratch) / "profile")
    row: dict[str, Any] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "load": os.getloadavg()[0], **spent}
    for part, times in found.items():
        row |= {f"{part}_rounds": len(times), f"{part}_s": statistics.median(times), f"{part}_most_s": max(times)}
        row[f"{part}_within"] = sum(value <= 2.0 for value in times)
    for name, value in row.items():
        print(f"{name:14s} {value if isinstance(value, str) else format(value, '.4g')}")
    keep(arguments.out, delay=row)


if __name__ == "__main__":
    main()
