"""The command `evaluate --out`: any two models on any frames, in a folder of its own. Imports that take seconds are in it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idealflow.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

    from idealflow.provenance import Campaign

__all__ = ["compare", "refuse_without_out"]

RESULT = "comparison.json"
_FRAMES = 5
_SHOWN = ("step", "time_fs", "temperature")


def refuse_without_out(arguments: argparse.Namespace) -> None:
    """Refuse options that need a folder of their own where none is given.

    Raises
    ------
    InputError
        Naming the option.

    Examples
    --------
    >>> refuse_without_out(argparse.Namespace(models=None, on="li-bcc"))
    Traceback (most recent call last):
    idealflow.errors.InputError: --on compares in a folder of its own; add --out FOLDER
    """
    for name in ("models", "on"):
        if getattr(arguments, name) is not None:
            raise InputError(f"--{name} compares in a folder of its own; add --out FOLDER")


def compare(arguments: argparse.Namespace) -> int:
    """Compare two models with the reference on frames of any origin; the campaign is only read, and may be running.

    Examples
    --------
    >>> from idealflow.cli import main
    >>> main(["evaluate", "cu", "--out", "compared"])  # there is no such campaign: a message on stderr says so
    2
    """
    from idealflow.analysis import mean_errors
    from idealflow.provenance import Campaign, CampaignFolder
    from idealflow.storage import replacing
    from idealflow.workflow.config.load import kept_maker
    from idealflow.workflow.drivers.comparing import compare_models, model_of

    folder = CampaignFolder(arguments.folder)
    campaign, label = Campaign.open(arguments.folder), kept_maker(folder.readable_config).label
    names = arguments.models or ("first", "last")
    models = {name: model_of(name, campaign) for name in names}
    frames = _frames(campaign, arguments.on, arguments.frames or _FRAMES)
    found = compare_models(models, frames, label, arguments.out)
    means = {name: dataclasses.asdict(mean_errors(errors)) for name, errors in found.errors.items() if errors}
    rows = [
        {key: float(atoms.info[key]) for key in _SHOWN if key in atoms.info}
        | {"n_atoms": len(atoms), **{name: dataclasses.asdict(errors[i]) for name, errors in found.errors.items()}}
        for i, atoms in enumerate(found.frames)
    ]
    result = {"campaign": campaign.name, "on": str(arguments.on or arguments.folder), "method": found.method}
    with replacing(Path(arguments.out).resolve() / RESULT) as draft:
        draft.write_text(json.dumps(result | {"means": means, "frames": rows}, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(found.frames)} frames labelled with {found.method}\n")
    for name, mean in means.items():
        sys.stdout.write(f"  {name}: {_line(mean)}\n")
    for number, cause in found.failed.items():
        sys.stderr.write(f"idealflow: frame {number} has no label: {cause}\n")
    if means:
        sys.stdout.write(f"written: {arguments.out / RESULT}\n")
    return 0 if means else 1


def _line(mean: dict[str, Any]) -> str:
    energy, bias = 1e3 * mean["energy_mae"], 1e3 * mean["energy_bias"]
    return f"energy {energy:.2f} ({bias:+.2f}) meV/atom, absolute (signed), forces {1e3 * mean['force_mae']:.0f} meV/Å"


def _frames(campaign: Campaign, on: str | None, n_frames: int) -> list[Atoms]:
    """Frames of a file, or of a campaign's trajectories, drawn evenly."""
    from ase.io import read

    from idealflow.provenance import Campaign, CampaignFolder
    from idealflow.workflow.stages.evaluation import evenly

    if on is None or CampaignFolder(on).exists():
        source = campaign if on is None else Campaign.open(Path(on))
        state = source.state()
        tracks = [source.trajectory(walker.walker) for walker in (state.walkers if state is not None else [])]
        places = [(track, number) for track in tracks for number in range(len(track))]
        frames = [places[i][0][places[i][1]] for i in evenly(n_frames, len(places))]
        if not frames:
            raise InputError(f"campaign {source.name} has stored no frame yet; let it run a round")
        return frames
    if not Path(on).is_file():
        raise InputError(f"--on {on} is neither a campaign's folder nor a file of structures")
    try:
        found = read(on, index=":")
    except Exception as error:  # readers may raise anything; the cause is passed on
        raise InputError(f"--on {on} cannot be read: {error or type(error).__name__}") from error
    return [found[i] for i in evenly(n_frames, len(found))]
