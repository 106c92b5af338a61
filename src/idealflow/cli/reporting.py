"""The command that writes a campaign's report page. Imports that take seconds are in it."""

from __future__ import annotations

import argparse
import errno
import sys

from idealflow.cli.looking import refuse_ending
from idealflow.errors import InputError

__all__ = ["report"]


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
