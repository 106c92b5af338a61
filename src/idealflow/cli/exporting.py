"""The command `export`: a dataset, a trajectory or the model, for other programs. Imports that take seconds are in it."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from idealflow.cli.bringing import requests
from idealflow.cli.looking import refuse_ending
from idealflow.errors import InputError, did_you_mean
from idealflow.wording import counted

if TYPE_CHECKING:
    from idealflow.workflow.folder.target import Target

__all__ = ["add_export", "export"]

#: options that only one kind of export has, by the name of the kind's own option
_OF_A_KIND = {"dataset": ("part", "license"), "trajectory": ("walker", "every", "no_uncertainty")}
_EXTXYZ = (".extxyz", ".xyz")
#: endings that tell the format of a trajectory
_TRAJECTORIES = {".traj": "traj", ".dump": "lammps-dump", ".lammpstrj": "lammps-dump"}


def add_export(export: argparse.ArgumentParser, target: str) -> None:
    """Add the options of `export` to its parser; ``target`` describes the first argument.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_export(parser, "a folder")
    >>> parser.parse_args(["cu", "cu.xyz", "--format", "mace"]).format
    'mace'
    """
    export.add_argument("target", metavar="DIR", help=target)
    export.add_argument("file", type=Path, metavar="FILE")
    export.add_argument(
        "--format",
        metavar="FORMAT",
        help="of the dataset: extxyz (default), mace, nep, deepmd, ase-db or chemiscope; of a trajectory: extxyz, traj or "
        "lammps-dump; of a model: idealflow or lammps; of requests: extxyz or vasp",
    )
    kinds = export.add_mutually_exclusive_group()
    kinds.add_argument("--trajectory", action="store_true", help="write the frames of a walker in place of the dataset")
    kinds.add_argument("--model", action="store_true", help="write the last force field in place of the dataset")
    kinds.add_argument(
        "--requests", action="store_true", help="write the cells that wait for a label from outside, for `import`"
    )
    export.add_argument(
        "--part", choices=("all", "train", "held_out"), help="of the dataset: only structures of this split"
    )
    export.add_argument("--license", metavar="NAME", help="licence that the data card states, such as CC-BY-4.0")
    export.add_argument("--walker", type=int, metavar="N", help="of which walker the trajectory is; default 0")
    export.add_argument("--every", type=int, metavar="N", help="write every N-th frame of the trajectory")
    export.add_argument(
        "--no-uncertainty", action="store_true", default=None, help="write the trajectory without uncertainties"
    )
    export.add_argument(
        "--force", action="store_true", help="replace an existing export, never one of the campaign's own files"
    )
    export.set_defaults(command=_export)


def export(arguments: argparse.Namespace) -> int:
    """Write the labelled dataset with its data card, a trajectory, or the model.

    Examples
    --------
    >>> from idealflow.cli import main
    >>> from idealflow.provenance import sample_campaign
    >>> folder = str(sample_campaign().folder.path)
    >>> main(["export", folder, folder + "/dataset.extxyz"])  # doctest: +ELLIPSIS
    13 labelled structures: .../dataset.extxyz
    data card: .../dataset.card.md
    0
    """
    from idealflow.workflow.folder.target import find_campaign

    kind = next((name for name in ("trajectory", "model", "requests") if getattr(arguments, name)), "dataset")
    for other, names in _OF_A_KIND.items():
        given = next((name for name in names if other != kind and getattr(arguments, name) is not None), None)
        if given is not None:
            raise InputError(
                f"--{given.replace('_', '-')} is for a {other}, and here the {kind} is written; leave it out"
                + (f", or add --{other}" if other != "dataset" else "")
            )
    target = find_campaign(arguments.target)
    write = {"dataset": _dataset, "trajectory": _trajectory, "model": _model, "requests": requests}[kind]
    return write(target, arguments)


_export = export  # the parser's argument has its name


def _dataset(target: Target, arguments: argparse.Namespace) -> int:
    from idealflow.exports.card import CARD_START, data_card
    from idealflow.exports.dataset import exported_dataset
    from idealflow.exports.formats import DATASET_FORMATS, FOLDERS
    from idealflow.storage import replacing, replacing_folder

    file, form, force = arguments.file, arguments.format or "extxyz", arguments.force
    _refuse_format("dataset", form, DATASET_FORMATS)
    artifacts = target.campaign.artifacts.url
    if form in FOLDERS:

        def ours(folder: Path) -> bool:
            card = folder / "README.md"
            return card.is_file() and card.read_text(errors="replace").startswith(CARD_START)

        target.directory.refuse_folder(file, artifacts, ours=ours, force=force)
        card = file / "README.md"
    else:
        card = file.with_name(f"{file.stem}.card.md")
        target.directory.refuse_target(file, artifacts, force=force)
        target.directory.refuse_target(card, artifacts, force=force)
        if arguments.format is None:
            refuse_ending(file, _EXTXYZ, "without --format a dataset is extended XYZ")
    frames = exported_dataset(target.campaign, arguments.part or "all")
    text = data_card(target.campaign, frames, form, arguments.license)
    with _told(file):
        if form in FOLDERS:
            with replacing_folder(file.resolve()) as folder:
                DATASET_FORMATS[form](folder, frames)
                (folder / card.name).write_text(text, encoding="utf-8")
        else:
            with replacing(file.resolve()) as draft:
                DATASET_FORMATS[form](draft, frames)
            with replacing(card.resolve()) as draft:
                draft.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{len(frames)} labelled structures: {file}\ndata card: {card}\n")
    return 0


def _trajectory(target: Target, arguments: argparse.Namespace) -> int:
    from idealflow.exports.trajectory import TRAJECTORY_FORMATS, moved_frames
    from idealflow.storage import replacing

    file, walker = arguments.file, arguments.walker or 0
    every = 1 if arguments.every is None else arguments.every
    if every < 1:
        raise InputError(f"--every must be at least 1, got {every}")
    form = arguments.format or _TRAJECTORIES.get(file.suffix.lower(), "extxyz")
    _refuse_format("trajectory", form, TRAJECTORY_FORMATS)
    target.directory.refuse_target(file, target.campaign.artifacts.url, force=arguments.force)
    if arguments.format is None:
        refuse_ending(file, (*_EXTXYZ, *_TRAJECTORIES), "without --format the ending tells the format of a trajectory")
    frames = moved_frames(target.campaign, walker, every, uncertain=not arguments.no_uncertainty)
    with _told(file), replacing(file.resolve()) as draft:
        count = TRAJECTORY_FORMATS[form](draft, frames, walker)
    sys.stdout.write(f"{counted(count, 'frame')} of walker {walker}: {file}\n")
    return 0


def _model(target: Target, arguments: argparse.Namespace) -> int:
    from idealflow.exports.model import MODEL_FORMATS, write_model
    from idealflow.storage import replacing

    form = arguments.format or MODEL_FORMATS[0]
    _refuse_format("model", form, MODEL_FORMATS)
    target.directory.refuse_target(arguments.file, target.campaign.artifacts.url, force=arguments.force)
    with _told(arguments.file), replacing(arguments.file.resolve()) as draft:
        use = write_model(target.campaign, draft, form).replace(str(draft), str(arguments.file))
    sys.stdout.write(f"model: {arguments.file}; to use it:\n{use}\n")
    return 0


def _refuse_format(kind: str, form: str, known: Collection[str]) -> None:
    if form not in known:
        raise InputError(f"a {kind} has no format {form!r}{did_you_mean(form, known)}; it has {', '.join(known)}")


@contextlib.contextmanager
def _told(file: Path) -> Iterator[None]:
    """Say which file it was that could not be written, in a folder that takes none, such as /proc."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}; choose another folder") from error
