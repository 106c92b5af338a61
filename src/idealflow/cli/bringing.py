"""Labels computed elsewhere: `export --requests` and `import`. Imports that take seconds are in them."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idealflow.cli.looking import refuse_ending
from idealflow.errors import InputError, did_you_mean
from idealflow.wording import counted

if TYPE_CHECKING:
    from idealflow.workflow.folder.target import Target

__all__ = ["add_import", "bring", "requests"]


def add_import(command: argparse.ArgumentParser, target: str) -> None:
    """Add the options of `import` to its parser; ``target`` describes the first argument.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_import(parser, "a folder")
    >>> parser.parse_args(["cu", "labels.extxyz", "--engine", "VASP 6.4.2"]).engine
    'VASP 6.4.2'
    """
    command.add_argument("target", metavar="DIR", help=target)
    command.add_argument(
        "file", type=Path, metavar="FILE", help="labels with their request keys, or the folder of VASP's runs"
    )
    command.add_argument("--engine", metavar="NAME", help="program and version, where the labels do not say it")
    command.add_argument(
        "--accept-doubtful",
        action="store_true",
        help="take labels whose energies, units or engine do not fit the others",
    )
    command.set_defaults(command=bring)


def bring(arguments: argparse.Namespace) -> int:
    """Bring labels back that were computed elsewhere.

    Examples
    --------
    >>> from idealflow.cli import main
    >>> main(["import", "no/such/folder", "labels.extxyz"])  # holds no campaign: a message on stderr says so
    2
    """
    from idealflow.provenance import Campaign
    from idealflow.workflow.folder.directory import CampaignDirectory
    from idealflow.workflow.folder.target import find_campaign
    from idealflow.workflow.jobs.progress import noted
    from idealflow.workflow.outside.bringing import bring_labels
    from idealflow.workflow.outside.returned import read_returned

    target = find_campaign(arguments.target)
    with noted() as notes:
        returned = read_returned(arguments.file)
    with contextlib.ExitStack() as stack:
        campaign = target.campaign
        if target.local:  # no process may run it, and its folder is opened to be written to
            directory = CampaignDirectory(target.directory.path)
            stack.enter_context(directory.locked())
            campaign = Campaign(directory.job_store(), campaign.name, directory)
        done = bring_labels(campaign, returned, arguments.engine, accept_doubtful=arguments.accept_doubtful)
    sys.stdout.writelines(f"{message}\n" for message in notes)
    parts = [f"{counted(done.stored, 'label')} stored"]
    parts += [f"{done.failed} stored as failed"] if done.failed else []
    parts += [f"{done.already} there already"] if done.already else []
    left = f"{done.awaited} still awaited" if done.awaited else "none is awaited any more: `idealflow run` goes on"
    sys.stdout.write(f"campaign {campaign.name}: {', '.join(parts)}; {left}\n")
    if n := done.without_stress:
        sys.stdout.write(
            f"{n} of them, of periodic cells, came without a stress: the model learns no stress from them\n"
        )
    return 0


def requests(target: Target, arguments: argparse.Namespace) -> int:
    """Write the cells that wait for a label from outside.

    Examples
    --------
    >>> from idealflow.cli import main
    >>> from idealflow.provenance import sample_campaign
    >>> main(["export", str(sample_campaign().folder.path), "cells.extxyz", "--requests"])  # it waits for none
    2
    """
    from idealflow.storage import replacing, replacing_folder
    from idealflow.workflow.outside.requests import REQUEST_FILE, REQUEST_FORMATS, awaited_requests

    file, form, artifacts = arguments.file, arguments.format or "extxyz", target.campaign.artifacts.url
    if form not in REQUEST_FORMATS:
        raise InputError(
            f"requests have no format {form!r}{did_you_mean(form, REQUEST_FORMATS)}; they have {', '.join(REQUEST_FORMATS)}"
        )
    cells, labeller = awaited_requests(target.campaign), _labeller(target)
    if form == "vasp":

        def ours(folder: Path) -> bool:
            return all(
                (inner / REQUEST_FILE).is_file() and not (inner / "vasprun.xml").exists() for inner in folder.iterdir()
            )

        target.directory.refuse_folder(file, artifacts, ours=ours, force=arguments.force)
        with replacing_folder(file.resolve()) as draft:
            REQUEST_FORMATS[form](draft, cells, labeller)
    else:
        target.directory.refuse_target(file, artifacts, force=arguments.force)
        if arguments.format is None:
            refuse_ending(file, (".extxyz", ".xyz"), "without --format requests are extended XYZ")
        with replacing(file.resolve()) as draft:
            REQUEST_FORMATS[form](draft, cells, labeller)
    sys.stdout.write(f"{counted(len(cells), 'cell')} to be labelled by {labeller.method}: {file}\n")
    if form == "vasp" and labeller.vasp is None:
        sys.stdout.write(
            "each folder has a POSCAR; INCAR, KPOINTS and POTCAR are yours. label: {labeller: {external: ..., vasp: {kind: "
            "metal}}} has INCAR and KPOINTS written, too\n"
        )
    return 0


def _labeller(target: Target) -> Any:
    """The labeller of the campaign's config; for one in a database, of its name alone."""
    from idealflow.workflow.labellers import ExternalLabeller
    from idealflow.workflow.outside.requests import awaited

    if target.local:
        from idealflow.workflow.config.load import kept_maker

        labeller = kept_maker(target.directory.readable_config).label.labeller
        if isinstance(labeller, ExternalLabeller):
            return labeller
    return ExternalLabeller(awaited(target.campaign)[0].method)
