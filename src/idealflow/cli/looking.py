"""Commands that look at a campaign: status, report, export. Imports that take seconds are in them."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from idealflow.errors import InputError

__all__ = ["export", "report", "status"]


def status(arguments: argparse.Namespace) -> int:
    """Print where a campaign stands."""
    from idealflow.report import summarise, summary_text
    from idealflow.workflow.folder.target import find_campaign

    target = find_campaign(arguments.target)
    summary = target.as_it_stands(summarise(target.campaign))
    sys.stdout.write(json.dumps(summary, indent=2) + "\n" if arguments.json else summary_text(summary))
    return 0


def report(arguments: argparse.Namespace) -> int:
    """Write a campaign's report page."""
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


def export(arguments: argparse.Namespace) -> int:
    """Write the labelled dataset."""
    from ase.io import write

    from idealflow.storage import replacing
    from idealflow.workflow.folder.target import find_campaign

    target = find_campaign(arguments.target)
    target.directory.refuse_target(arguments.file, target.campaign.artifacts.url, force=arguments.force)
    dataset = target.campaign.dataset()
    if not dataset:
        raise InputError(
            f"campaign {target.campaign.name} has no labels that training uses; let it run through its bootstrap, or further "
            "where label.other_method: leave_out left all out"
        )
    try:
        with replacing(arguments.file.resolve()) as draft:
            write(draft, dataset, format="extxyz")
    except FileNotFoundError as error:  # in a folder that takes no files, such as /proc
        raise InputError(f"{arguments.file} cannot be written: {error.strerror}; choose another folder") from error
    sys.stdout.write(f"{len(dataset)} labelled structures: {arguments.file}\n")
    return 0
