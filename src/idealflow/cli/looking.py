"""The command that says where a campaign stands. Imports that take seconds are in it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from idealflow.errors import InputError

__all__ = ["refuse_ending", "status"]


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
