"""Commands that look at a campaign: status, export. Imports that take seconds are in them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from idealflow.errors import InputError

__all__ = ["export", "refuse_ending", "status"]


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
    refuse_ending(arguments.file, (".extxyz", ".xyz"), "a dataset is extended XYZ")
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


def refuse_ending(file: Path, endings: tuple[str, ...], what: str) -> None:
    """Refuse a name whose ending promises another format; none promises nothing.

    Examples
    --------
    >>> refuse_ending(Path("page.pdf"), (".html",), "a page is HTML")
    Traceback (most recent call last):
    idealflow.errors.InputError: page.pdf ends in .pdf, but a page is HTML; let the name end in .html
    """
    if file.suffix and file.suffix.lower() not in endings:
        raise InputError(f"{file} ends in {file.suffix}, but {what}; let the name end in {' or '.join(endings)}")
