"""The program: run, status, report, export, evaluate, submit, pause, recover, init."""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idealflow import __version__
from idealflow.config_text import read_config
from idealflow.errors import IdealflowError, InputError

if TYPE_CHECKING:
    from idealflow.schemas import CampaignState

__all__ = ["main"]

# disk full, over quota, file too large, read-only, no permission, failing device: no fault of ours, and no traceback
_SITE_TROUBLE = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR, errno.EEXIST,
)  # fmt: skip

#: signals that end a run as Ctrl-C does: a queue's time limit, a closed terminal
_ENDING = (signal.SIGTERM, signal.SIGHUP)

_INTERRUPTED = "interrupted; the same command goes on from here"
_TARGET = "the campaign's folder, or its name in jobflow's JOB_STORE"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 if what was asked was done, 2 for bad input, 1 for a campaign that failed."""
    arguments = _parser().parse_args(argv)
    try:
        with _ended_by_signals():
            return int(arguments.command(arguments))
    except InputError as error:
        sys.stderr.write(f"idealflow: {error}\n")
        return 2
    except IdealflowError as error:
        sys.stderr.write(f"idealflow: {error}\n")
        return 1
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            sys.stderr.write(f"idealflow: {error.strerror}: {str(error.filename)[:100]}...; give a shorter path\n")
            return 2
        if error.errno not in _SITE_TROUBLE:
            raise
        sys.stderr.write(
            f"idealflow: {error}; what was committed is safe: give it room or permission and run the same command again\n"
        )
        return 1
    except KeyboardInterrupt as stop:
        number = stop.args[0] if stop.args else signal.SIGINT
        by = "" if number == signal.SIGINT else f" by {number.name}"
        sys.stderr.write(f"idealflow: interrupted{by}; the same command goes on from here\n")
        return 128 + int(number)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program as Ctrl-C does, unless it was started deaf to them (nohup)."""

    def interrupt(number: int, _: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number))

    before = {number: signal.getsignal(number) for number in _ENDING}
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's alone
        before = {}
    for number, handler in before.items():
        if handler == signal.SIG_DFL:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="idealflow", description="IDEAL campaigns: large-scale MD that labels only small cells."
    )
    parser.add_argument("--version", action="version", version=f"idealflow {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run, or continue, a campaign on this machine (no server)")
    run.add_argument("config", type=Path, metavar="CONFIG.yaml")
    run.add_argument("--out", type=Path, required=True, metavar="DIR")
    run.add_argument("--max-rounds", type=_positive, metavar="N", help="stop as paused after N rounds")
    run.add_argument("--quiet", action="store_true", help="no progress display")
    run.set_defaults(command=_run)

    status = commands.add_parser("status", help="where a campaign stands")
    status.add_argument("target", metavar="DIR", help=_TARGET)
    status.add_argument("--json", action="store_true", help="for a machine")
    status.set_defaults(command=_status)

    report = commands.add_parser("report", help="write DIR/report.html and its figures")
    report.add_argument("target", metavar="DIR", help=_TARGET)
    report.add_argument("--to", type=Path, metavar="FILE.html", help="write the page there, and nothing into DIR")
    report.add_argument("--force", action="store_true", help="with --to: replace an existing file")
    report.set_defaults(command=_report)

    export = commands.add_parser("export", help="write the labelled dataset as extended XYZ")
    export.add_argument("target", metavar="DIR", help=_TARGET)
    export.add_argument("file", type=Path, metavar="FILE.extxyz")
    export.add_argument(
        "--force", action="store_true", help="replace an existing file, never one of the campaign's own"
    )
    export.set_defaults(command=_export)

    evaluate = commands.add_parser("evaluate", help="compare first and present model with the reference now")
    evaluate.add_argument(
        "folder", type=Path, metavar="DIR", help="the campaign's folder; no process may be running it"
    )
    evaluate.add_argument(
        "--frames", type=_positive, metavar="N", help="whole frames to label; default: the config's, or 5"
    )
    evaluate.set_defaults(command=_evaluate)

    submit = commands.add_parser("submit", help="add the campaign to FireWorks")
    submit.add_argument("config", type=Path, metavar="CONFIG.yaml")
    submit.add_argument("--launchpad", type=Path, metavar="my_launchpad.yaml")
    submit.set_defaults(command=_submit)

    pause = commands.add_parser("pause", help="let a submitted campaign stop at the end of its round")
    pause.add_argument("campaign", metavar="NAME")
    pause.add_argument("--launchpad", type=Path, metavar="my_launchpad.yaml")
    pause.set_defaults(command=_pause)

    recover = commands.add_parser("recover", help="mend a submitted campaign's queue after processes died")
    recover.add_argument("campaign", metavar="NAME")
    recover.add_argument("--launchpad", type=Path, metavar="my_launchpad.yaml")
    recover.add_argument(
        "--lost-after", type=_seconds, default=14400, metavar="S", help="seconds without a sign of life; default 14400"
    )
    recover.add_argument("--keep-fizzled", action="store_true", help="do not run fizzled jobs again")
    recover.set_defaults(command=_recover)

    init = commands.add_parser("init", help="print a commented config")
    init.add_argument("name", metavar="NAME", help="cu-melt, li-melt, ...")
    init.set_defaults(command=_init)
    return parser


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


def _run(arguments: argparse.Namespace) -> int:
    read_config(arguments.config)  # what is wrong with its text is said before the imports below, which take seconds
    from idealflow.cli.display import Display
    from idealflow.provenance import Campaign
    from idealflow.report import summarise, summary_text, write_report, write_summary
    from idealflow.workflow.campaign.state import next_action
    from idealflow.workflow.config.load import former_maker
    from idealflow.workflow.drivers.local import open_state, run_campaign
    from idealflow.workflow.folder.directory import CampaignDirectory
    from idealflow.workflow.frames.encode import to_stored
    from idealflow.workflow.jobs.progress import listening

    maker, atoms, settings, notes = _config(arguments.config)
    directory = CampaignDirectory(arguments.out)
    directory.check_name(maker.campaign)
    directory.check_files()
    maker = directory.placed(maker)
    with directory.locked():
        store, structure = directory.job_store(), to_stored(atoms)
        campaign = Campaign(store, maker.campaign, directory)
        former = former_maker(directory.readable_config) if directory.exists() else None
        state = open_state(maker, structure, store, notes, None if former is None else directory.placed(former))
        action, stored = next_action(state), campaign.state()
        if action.kind == "stop" and stored is not None and len(state.changes) > len(stored.changes):
            sys.stdout.write("nothing is left to run with changed settings: they are not taken over\n")
        elif (kept := directory.write_config(settings)).name != "config.yaml":
            sys.stdout.write(
                f"config.yaml in {directory.path} is not idealflow's and is kept; what runs is in {kept.name}\n"
            )
        if action.kind == "stop":
            write_summary(campaign, directory.summary_path, status=state.status, reason=state.reason)
            if not directory.report_path.exists():  # the process that finished the campaign was killed before it
                write_report(campaign, campaign.fetch, directory.report_path, directory.figures)
            sys.stdout.write(f"campaign {maker.campaign} is {state.status}: {state.reason}; nothing to do\n")
            return 0 if state.status == "finished" else 1
        if not arguments.quiet:
            _tell_changes(state, stored)

        with contextlib.ExitStack() as stack:
            display = None if arguments.quiet else stack.enter_context(Display(state))
            if display is not None:
                stack.enter_context(listening(display))

            def on_round(after: CampaignState) -> None:
                write_summary(campaign, directory.summary_path, whole=False)
                if display is not None:
                    display.committed(after)

            try:
                state = run_campaign(
                    maker,
                    structure,
                    store,
                    state=state,
                    max_rounds=arguments.max_rounds,
                    on_round=on_round,
                    root_dir=directory.jobs,
                )
            except KeyboardInterrupt:
                write_summary(campaign, directory.summary_path, status="paused", reason=_INTERRUPTED)
                raise
        write_summary(campaign, directory.summary_path, status=state.status, reason=state.reason)
        if state.status != "paused":
            write_report(campaign, campaign.fetch, directory.report_path, directory.figures)
    sys.stdout.write(summary_text(summarise(campaign) | {"status": state.status, "reason": state.reason}))
    sys.stdout.write(f"summary: {directory.summary_path}\n")
    if directory.report_path.exists():
        sys.stdout.write(f"report:  {directory.report_path}\n")
    return 1 if state.status == "failed" else 0


def _tell_changes(state: CampaignState, stored: CampaignState | None) -> None:
    """Say on stderr what this run changes, and what is to know of the settings."""
    before = 0 if stored is None else len(stored.changes)
    lines = [
        f"from round {entry.round} on {entry.key} = {entry.after}, before {entry.before}"
        for entry in state.changes[before:]
    ]
    lines += state.remarks[0 if stored is None else len(stored.remarks) :]
    for line in lines:
        sys.stderr.write(f"idealflow: {line}\n")


def _status(arguments: argparse.Namespace) -> int:
    from idealflow.report import summarise, summary_text
    from idealflow.workflow.folder.target import find_campaign

    target = find_campaign(arguments.target)
    summary = target.as_it_stands(summarise(target.campaign))
    sys.stdout.write(json.dumps(summary, indent=2) + "\n" if arguments.json else summary_text(summary))
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from idealflow.report import write_report
    from idealflow.workflow.folder.target import find_campaign

    target = find_campaign(arguments.target)
    directory, page = target.directory, arguments.to
    if page is None:
        directory.check_report()
        page = write_report(target.campaign, target.fetch, directory.report_path, directory.figures)
    else:
        directory.refuse_target(page, target.campaign.artifacts.url, force=arguments.force)
        with tempfile.TemporaryDirectory() as figures:  # the page holds them itself
            write_report(target.campaign, target.fetch, page.resolve(), Path(figures))
    sys.stdout.write(f"report: {page}\n")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from ase.io import write

    from idealflow.storage import replacing
    from idealflow.workflow.folder.target import find_campaign

    target = find_campaign(arguments.target)
    target.directory.refuse_target(arguments.file, target.campaign.artifacts.url, force=arguments.force)
    dataset = target.campaign.dataset()
    if not dataset:
        raise InputError(f"campaign {target.campaign.name} has no labels yet; let it run through its bootstrap")
    try:
        with replacing(arguments.file.resolve()) as draft:
            write(draft, dataset, format="extxyz")
    except FileNotFoundError as error:  # in a folder that takes no files, such as /proc
        raise InputError(f"{arguments.file} cannot be written: {error.strerror}; choose another folder") from error
    sys.stdout.write(f"{len(dataset)} labelled structures: {arguments.file}\n")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from idealflow.provenance import Campaign
    from idealflow.report import evaluation_line, summarise, write_summary
    from idealflow.workflow.config.load import kept_maker
    from idealflow.workflow.drivers.local import evaluate_campaign
    from idealflow.workflow.folder.directory import CampaignDirectory

    directory = CampaignDirectory(arguments.folder)
    directory.require()
    maker = directory.placed(kept_maker(directory.readable_config))
    with directory.locked():
        store = directory.job_store()
        campaign = Campaign(store, directory.campaign_name(), directory)
        root = directory.root(campaign.state())
        doc = evaluate_campaign(maker, store, root, n_frames=arguments.frames, root_dir=directory.jobs)
    changes = {
        key: value for key, value in directory.with_pause(summarise(campaign)).items() if key in ("status", "reason")
    }
    write_summary(campaign, directory.summary_path, **changes)
    sys.stdout.write(f"campaign {campaign.name}: {len(doc.frames)} whole frames labelled with {doc.method}\n")
    for entry in summarise(campaign)["evaluation"]:
        sys.stdout.write(evaluation_line(entry) + "\n")
    for frame, cause in doc.failed.items():
        sys.stderr.write(f"idealflow: {frame} has no label: {cause}\n")
    return 0 if doc.frames else 1


def _config(path: Path) -> tuple[Any, Any, dict[str, Any], list[str]]:
    """A checked config, and what became of its inputs (which frame of several is taken), said also where it is refused."""
    from idealflow.workflow.config.load import load_config
    from idealflow.workflow.jobs.progress import noted

    with noted() as notes:
        try:
            return *load_config(path), notes
        except InputError:
            sys.stdout.writelines(f"{message}\n" for message in notes)
            raise


def _submit(arguments: argparse.Namespace) -> int:
    read_config(arguments.config)
    from idealflow.workflow.drivers.fireworks import submit_campaign

    maker, atoms, settings, notes = _config(arguments.config)
    labeller = settings.get("label", {}).get("labeller")
    if isinstance(labeller, dict) and "maker" in labeller and "import_from" in labeller:
        kind = type(getattr(maker.label.labeller, "maker", None))
        if kind.__module__.partition(".")[0] == labeller["maker"].partition(".")[0]:
            raise InputError(
                f"every worker has to import {kind.__module__}.{kind.__name__}, which lies beside the config; set PYTHONPATH to "
                f"{labeller['import_from']} here and on the workers"
            )
    sys.stdout.writelines(f"{message}\n" for message in notes)
    sys.stdout.write(submit_campaign(maker, atoms, arguments.launchpad) + "\n")
    return 0


def _pause(arguments: argparse.Namespace) -> int:
    from idealflow.workflow.drivers.fireworks import pause_campaign

    sys.stdout.write(pause_campaign(arguments.campaign, arguments.launchpad) + "\n")
    return 0


def _recover(arguments: argparse.Namespace) -> int:
    from idealflow.workflow.drivers.recovery import recover_campaign

    done = recover_campaign(
        arguments.campaign,
        arguments.launchpad,
        lost_after_s=arguments.lost_after,
        rerun_fizzled=not arguments.keep_fizzled,
    )
    sys.stdout.write(f"campaign {arguments.campaign}: {done}\n")
    return 0


def _init(arguments: argparse.Namespace) -> int:
    from idealflow.workflow.config.templates import template

    sys.stdout.write(template(arguments.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
