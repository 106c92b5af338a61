"""CPU seconds of short commands: what a user waits for before the first line, on a campaign of a few rounds.

    python workflows/benchmarks/start_times.py [--campaign DIR] [--runs N] [--source DIR]
        [--out workflows/benchmarks/results/start_times.json]

Each command runs as a process of its own; user and system time of it and its children are summed, which does not depend on what
else the machine does as the clock on the wall would. The least and the median of the runs are printed, after one run that is
left out (it writes Python's compiled files). ``--campaign`` takes a folder of `idealflow run`; without it the sample
campaign of the package is looked at. ``--source`` names the folder ``src`` of another version of the package, which is measured
in place of this one: the page's times "before" are those of the parent of c99047e.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from idealflow.provenance import sample_campaign
from workbench.keeping import add_out, keep


def cpu_seconds(command: list[str]) -> float:
    """User and system time of a process and its children, s."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def commands(campaign: Path, scratch: Path) -> dict[str, list[str]]:
    """The commands by what they are called in the table."""
    program = [sys.executable, "-m", "idealflow.cli"]
    target = str(campaign)
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import idealflow'": [sys.executable, "-c", "import idealflow"],
        "idealflow --help": [*program, "--help"],
        "idealflow init cu-melt": [*program, "init", "cu-melt"],
        "idealflow status DIR": [*program, "status", target],
        "idealflow export DIR FILE": [*program, "export", target, str(scratch / "set.extxyz"), "--force"],
        "idealflow report DIR": [*program, "report", target, "--to", str(scratch / "page.html"), "--force"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaign", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--source", type=Path)
    add_out(parser)
    arguments = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        scratch, campaign = Path(folder), arguments.campaign
        if campaign is None:
            campaign = sample_campaign(scratch / "sample").folder.path
        if arguments.source is not None:
            os.environ["PYTHONPATH"] = str(arguments.source.resolve())
        print(f"{'CPU seconds':32s}  least median")
        rows = []
        for name, command in commands(campaign, scratch).items():
            cpu_seconds(command)
            found = [cpu_seconds(command) for _ in range(arguments.runs)]
            print(f"{name:32s} {min(found):6.2f} {statistics.median(found):6.2f}", flush=True)
            rows.append({"command": name, "least_s": min(found), "median_s": statistics.median(found)})
        keep(arguments.out, commands=rows)


if __name__ == "__main__":
    main()
