"""Commands that look at a campaign: status, report. Imports that take seconds are in them."""

from __future__ import annotations

import argparse
import errno
import json
import sys
from pathlib import Path

from idealflow.errors import InputError

__all__ = ["refuse_ending", "report", "status"]


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
        refuse_ending(page, (".html", ".htm"), "a page is HTML")
        write_report(target.campaign, target.fetch, page.resolve(), None)
    sys.stdout.write(f"report: {page}\n")
    return 0


def refuse_ending(file: Path, endings: tuple[str, ...], what: str) -> None:
    """Refuse a name whose ending promises another format; none promises nothing.

    Examples
    --------
    >>> refuse_ending(Path("page.pdf"), (".html", ".htm"), "a page is HTML")
    Traceback (most recent call last):
    idealflow.errors.InputError: page.pdf ends in .pdf, but a page is HTML; let the name end in .html or .htm
    """
    if file.suffix and file.suffix.lower() not in endings:
        raise InputError(f"{file} ends in {file.suffix}, but {what}; let the name end in {' or '.join(endings)}")
