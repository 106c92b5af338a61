"""Commands that compute in a campaign's folder: run, evaluate. Imports that take seconds are in them."""

from __future__ import annotations

import argparse
import contextlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from idealflow.cli.comparing import compare, refuse_without_out
from idealflow.cli.inputs import checked_config
from idealflow.cli.starting import starting
from idealflow.config_text import read_config

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from idealflow.schemas import CampaignState
    from idealflow.workflow.campaign.ideal import IdealMaker
    from idealflow.workflow.folder.directory import CampaignDirectory

__all__ = ["evaluate", "run"]

_INTERRUPTED = "interrupted; the same command goes on from here"


def run(arguments: argparse.Namespace) -> int:
    """Run, or continue, a campaign in a folder.

    Examples
    --------
    >>> from idealflow.cli import main
    >>> main(["run", "cu.yaml", "--out", "cu"])  # there is no such file: a message on stderr says so
    2
    """
    read_config(arguments.config)  # what is wrong with its text is said before the imports below, which take seconds
    with starting(arguments.quiet):
        from idealflow.cli.afterwards import Afterwards
        from idealflow.cli.display import Display
        from idealflow.cli.event_log import EventLog
        from idealflow.provenance import Campaign
        from idealflow.report import summarise, summary_text, write_report, write_summary
        from idealflow.workflow.campaign.state import next_action
        from idealflow.workflow.config.load import former_maker
        from idealflow.workflow.drivers.local import open_state, run_campaign
        from idealflow.workflow.drivers.machine import Share, default_workers, labels_side_by_side
        from idealflow.workflow.folder.directory import CampaignDirectory
        from idealflow.workflow.jobs.progress import listening

        directory = CampaignDirectory(arguments.out)
        maker, structure, settings, notes = _checked(arguments.config, directory, arguments.max_rounds)
    with directory.locked():
        store = directory.job_store()
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

        workers = arguments.workers or maker.workers or default_workers()
        with contextlib.ExitStack() as stack:
            at_once = labels_side_by_side(workers, Share(maker.label.n_cores, maker.label.memory_gb or 0.0))
            afterwards = Afterwards(campaign, at_once).seconds
            display = None if arguments.quiet else stack.enter_context(Display(state, afterwards=afterwards))
            if display is not None:
                stack.enter_context(listening(display))
            log = EventLog(directory.log_path, campaign)
            stack.enter_context(listening(log))

            def on_round(after: CampaignState) -> None:
                write_summary(campaign, directory.summary_path, whole=False)
                log.committed(after)
                if display is not None:
                    display.committed(after)

            try:
                state = run_campaign(
                    maker,
                    structure,
                    store,
                    state=state,
                    workers=workers,
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


def _checked(
    config: Path, directory: CampaignDirectory, max_rounds: int | None
) -> tuple[IdealMaker, Atoms, dict[str, Any], list[str]]:
    """The campaign's Maker, structure, config and notes, refused before anything is written into the folder.

    ``max_rounds`` is the command's own, for this run; None: the config's.
    """
    from idealflow.workflow.drivers.local import check_site
    from idealflow.workflow.folder.earlier import first_weights
    from idealflow.workflow.frames.encode import carried

    bootstrap = read_config(config).get("bootstrap")
    pretrained = isinstance(bootstrap, dict) and "pretrained" in bootstrap
    maker, atoms, settings, notes = checked_config(config, first_weights(directory) if pretrained else None)
    directory.check_name(maker.campaign)
    directory.check_files()
    maker, structure = directory.placed(maker), carried(atoms)
    if max_rounds is not None:
        maker = replace(maker, max_rounds=max_rounds)
    if not directory.exists():
        check_site(maker, structure)
    return maker, structure, settings, notes


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


def evaluate(arguments: argparse.Namespace) -> int:
    """Compare first and present model with the reference now.

    Examples
    --------
    >>> from idealflow.cli import main
    >>> main(["evaluate", "cu"])  # there is no such campaign: a message on stderr says so
    2
    """
    from idealflow.provenance import Campaign, CampaignFolder

    CampaignFolder(arguments.folder).require()  # said before the imports below, which take seconds
    if arguments.out is not None:
        return compare(arguments)
    refuse_without_out(arguments)
    with starting():
        from idealflow.report import evaluation_line, summarise, write_summary
        from idealflow.workflow.config.load import kept_maker
        from idealflow.workflow.drivers.local import evaluate_campaign
        from idealflow.workflow.drivers.machine import default_workers
        from idealflow.workflow.folder.directory import CampaignDirectory

    directory = CampaignDirectory(arguments.folder)
    maker = directory.placed(kept_maker(directory.readable_config))
    with directory.locked():
        store = directory.job_store()
        campaign = Campaign(store, directory.campaign_name(), directory)
        root = directory.root(campaign.state())
        doc = evaluate_campaign(
            maker,
            store,
            root,
            n_frames=arguments.frames,
            workers=arguments.workers or maker.workers or default_workers(),
            root_dir=directory.jobs,
        )
    changes = {
        key: value for key, value in directory.with_pause(summarise(campaign)).items() if key in ("status", "reason")
    }
    write_summary(campaign, directory.summary_path, **changes)
    sys.stdout.write(f"campaign {campaign.name}: {len(doc.frames)} whole frames labelled with {doc.method}\n")
    for entry in summarise(campaign)["evaluation"]:
        sys.stdout.write(evaluation_line(entry) + "\n")
    if arguments.frames is not None and (found := len(doc.frames) + len(doc.failed)) < arguments.frames:
        sys.stderr.write(
            f"idealflow: {arguments.frames} frames were asked for, but the trajectory so far has {found}: all of them are taken\n"
        )
    for frame, cause in doc.failed.items():
        sys.stderr.write(f"idealflow: {frame} has no label: {cause}\n")
    return 0 if doc.frames else 1
