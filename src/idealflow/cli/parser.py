"""Commands and options of the program."""

from __future__ import annotations

import argparse
from pathlib import Path

from idealflow import __version__
from idealflow.cli import bringing, checking, exporting, inputs, looking, queues, reporting, running
from idealflow.cli.watching import add_watch

__all__ = ["parser"]

_TARGET = "the campaign's folder, or its name in jobflow's JOB_STORE"


def parser() -> argparse.ArgumentParser:
    """Build the parser of the program's commands and options; each command sets ``command``, the function that carries it out.

    Examples
    --------
    >>> arguments = parser().parse_args(["run", "cu.yaml", "--out", "cu", "--max-rounds", "3"])
    >>> arguments.command.__name__, arguments.max_rounds
    ('run', 3)
    """
    whole = argparse.ArgumentParser(
        prog="idealflow", description="IDEAL campaigns: large-scale MD that labels only small cells."
    )
    whole.add_argument("--version", action="version", version=f"idealflow {__version__}")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run, or continue, a campaign on this machine (no server)")
    run.add_argument("config", type=Path, metavar="CONFIG.yaml")
    run.add_argument("--out", type=Path, required=True, metavar="DIR")
    run.add_argument("--max-rounds", type=_positive, metavar="N", help="stop as paused after N rounds")
    run.add_argument(
        "--workers", type=_positive, metavar="N", help="jobs side by side; default: the config's, or the cores at hand"
    )
    run.add_argument("--quiet", action="store_true", help="no progress display")
    run.set_defaults(command=running.run)

    check = commands.add_parser("check", help="check a config before anything is spent on it")
    check.add_argument("config", type=Path, metavar="CONFIG.yaml")
    check.add_argument("--label", action="store_true", help="compute one tiny label with the real engine")
    check.add_argument(
        "--out", type=Path, metavar="DIR", help="the folder of `run`: its files, disk and measured labels"
    )
    check.add_argument("--launchpad", type=Path, metavar="my_launchpad.yaml", help="as for `submit`: is it there?")
    check.add_argument(
        "--inputs", type=Path, metavar="DIR", help="write the files that VASP would be given; needs no VASP"
    )
    check.set_defaults(command=checking.check)

    status = commands.add_parser("status", help="where a campaign stands")
    status.add_argument("target", metavar="DIR", help=_TARGET)
    status.add_argument("--json", action="store_true", help="for a machine")
    status.set_defaults(command=looking.status)

    report = commands.add_parser("report", help="write DIR/report.html, one interactive page, and figures as pictures")
    report.add_argument("target", metavar="DIR", help=_TARGET)
    report.add_argument("--to", type=Path, metavar="FILE.html", help="write the page there, and nothing into DIR")
    report.add_argument("--force", action="store_true", help="with --to: replace an existing file")
    report.set_defaults(command=reporting.report)

    add_watch(commands)

    export = commands.add_parser(
        "export", help="write the labelled dataset, a trajectory or the model for other programs"
    )
    exporting.add_export(export, _TARGET)

    bring = commands.add_parser("import", help="bring labels back that were computed elsewhere")
    bringing.add_import(bring, _TARGET)

    evaluate = commands.add_parser("evaluate", help="compare first and present model with the reference now")
    evaluate.add_argument(
        "folder", type=Path, metavar="DIR", help="the campaign's folder; without --out no process may be running it"
    )
    evaluate.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="compare in a folder of its own; the campaign is only read, and may run",
    )
    evaluate.add_argument(
        "--models",
        nargs=2,
        metavar=("A", "B"),
        help="first, last, a version, a campaign's folder, FOLDER:VERSION or a file; default: first last",
    )
    evaluate.add_argument(
        "--on", metavar="DIR|FILE", help="whose frames: another campaign's folder, or a file of structures"
    )
    evaluate.add_argument(
        "--frames", type=_positive, metavar="N", help="whole frames to label; default: the config's, or 5"
    )
    evaluate.add_argument("--workers", type=_positive, metavar="N", help="labels side by side; default: as for run")
    evaluate.set_defaults(command=running.evaluate)

    submit = commands.add_parser("submit", help="add the campaign to FireWorks")
    submit.add_argument("config", type=Path, metavar="CONFIG.yaml")
    submit.add_argument("--launchpad", type=Path, metavar="my_launchpad.yaml")
    submit.set_defaults(command=queues.submit)

    pause = commands.add_parser("pause", help="let a submitted campaign stop at the end of its round")
    pause.add_argument("campaign", metavar="NAME")
    pause.add_argument("--launchpad", type=Path, metavar="my_launchpad.yaml")
    pause.set_defaults(command=queues.pause)

    recover = commands.add_parser("recover", help="mend a submitted campaign's queue after processes died")
    recover.add_argument("campaign", metavar="NAME")
    recover.add_argument("--launchpad", type=Path, metavar="my_launchpad.yaml")
    recover.add_argument(
        "--lost-after", type=_seconds, default=14400, metavar="S", help="seconds without a sign of life; default 14400"
    )
    recover.add_argument("--keep-fizzled", action="store_true", help="do not run fizzled jobs again")
    recover.set_defaults(command=queues.recover)

    init = commands.add_parser("init", help="print a commented config")
    init.add_argument("name", metavar="NAME", nargs="?", help="cu-melt, li-melt, ...")
    init.add_argument("--structure", type=Path, metavar="FILE", help="write one for this structure: POSCAR, CIF, ...")
    init.add_argument("--engine", metavar="ENGINE", help="with --structure: vasp, gpaw, cp2k or ase")
    init.set_defaults(command=inputs.init)
    return whole


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"must be seconds, at least 0, got {text}")
    return value
