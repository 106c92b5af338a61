"""Commands that look at a campaign: status, report, export. Imports that take seconds are in them."""

from __future__ import annotations

import argparse
import errno
import json
import sys
from pathlib import Path

from idealflow.errors import InputError

__all__ = ["export", "report", "status"]


def status(arguments: argparse.Namespace) -> int:
    """Print where a campaign stands.

    Examples
    --------
    >>> from idealflow.cli import main
    >>> from idealflow.provenance import sample_campaign
    >>> folder = str(sample_campaign().folder.path)
    >>> main(["status", folder])  # doctest: +ELLIPSIS
    campaign tiny: finished (the schedule is done)
    ...
    0
    """
    from idealflow.report import summarise, summary_text
    from idealflow.workflow.folder.target import find_campaign

    target = find_campaign(arguments.target)
    summary = target.as_it_stands(summarise(target.campaign))
    sys.stdout.write(json.dumps(summary, indent=2) + "\n" if arguments.json else summary_text(summary))
    return 0


def report(arguments: argparse.Namespace) -> int:
    """Write a campaign's report page.

    Examples
    --------
    >>> from idealflow.cli import main
    >>> main(["report", "no/such/folder"])  # holds no campaign: a message on stderr says so
    2
    """
    from idealflow.report import write_report
    from idealflow.workflow.folder.target import find_campaign

    target = find_campaign(arguments.target)
    directory, page = target.directory, arguments.to
    if page is None:
        directory.check_report()
        try:
            page = write_report(target.campaign, target.fetch, directory.report_path, directory.figures)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            raise InputError(
                f"{directory.path} takes no files ({error.strerror}); write the page elsewhere with --to FILE.html"
            ) from error
    else:
        directory.refuse_target(page, target.campaign.artifacts.url, force=arguments.force)
        _refuse_ending(page, (".html", ".htm"), "a page is HTML")
        write_report(target.campaign, target.fetch, page.resolve(), None)
    sys.stdout.write(f"report: {page}\n")
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Write the labelled dataset.

    Examples
    --------
    >>> from idealflow.cli import main
    >>> from idealflow.provenance import sample_campaign
    >>> folder = str(sample_campaign().folder.path)
    >>> main(["export", folder, folder + "/dataset.extxyz"])  # doctest: +ELLIPSIS
    13 labelled structures: .../dataset.extxyz
    0
    """
    from ase.io import write

    from idealflow.storage import replacing
    from idealflow.workflow.folder.target import find_campaign

    target = find_campaign(arguments.target)
    target.directory.refuse_target(arguments.file, target.campaign.artifacts.url, force=arguments.force)
    _refuse_ending(arguments.file, (".extxyz", ".xyz"), "a dataset is extended XYZ")
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


def _refuse_ending(file: Path, endings: tuple[str, ...], what: str) -> None:
    """Refuse a name whose ending promises another format; none promises nothing."""
    if file.suffix and file.suffix.lower() not in endings:
        raise InputError(f"{file} ends in {file.suffix}, but {what}; let the name end in {' or '.join(endings)}")
