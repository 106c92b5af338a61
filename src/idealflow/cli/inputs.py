"""The config that a command is given, and the one that it prints."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from idealflow.config_text import read_config
from idealflow.errors import InputError

__all__ = ["checked_config", "init"]


def checked_config(path: Path, weights: Path | None = None) -> tuple[Any, Any, dict[str, Any], list[str]]:
    """Read and check a config.

    Parameters
    ----------
    path
        The YAML file.
    weights
        A copy of pretrained weights from the campaign's artifacts, which is taken where the file that the config names is gone.

    Returns
    -------
    tuple
        Maker, structure, settings, and notes of what was done with the inputs, such as which of several frames is taken. The
        notes are printed where the config is refused. Keys that are written otherwise now are said on stderr.

    Raises
    ------
    InputError
        For anything that is wrong with the config.

    Examples
    --------
    >>> checked_config(Path("none.yaml"))
    Traceback (most recent call last):
        ...
    idealflow.errors.InputError: config none.yaml does not exist; `idealflow init cu-melt > none.yaml` writes one
    """
    read_config(path)  # what is wrong with its text is said before the import below, which takes seconds
    from idealflow.workflow.config.load import load_config
    from idealflow.workflow.jobs.progress import SPELLING, Progress, listening, noted

    def tell(event: Progress) -> None:
        if event.stage == SPELLING:
            sys.stderr.write(f"idealflow: {path}: {event.message}\n")

    with noted() as notes, listening(tell):
        try:
            return *load_config(path, weights), notes
        except InputError:
            sys.stdout.writelines(f"{message}\n" for message in notes)
            raise


def init(arguments: argparse.Namespace) -> int:
    """Print a commented config: one that ships with the package, or one for a structure of the user's.

    Examples
    --------
    >>> init(argparse.Namespace(name="cu-melt", structure=None, engine=None))  # doctest: +ELLIPSIS
    #...
    0
    """
    from idealflow.workflow.config.templates import available_templates, template

    name, structure, engine = arguments.name, arguments.structure, arguments.engine
    if structure is None and engine is None and name is not None:
        sys.stdout.write(template(name))
        return 0
    if name is not None or structure is None or engine is None:
        raise InputError(
            f"init takes a name ({', '.join(available_templates())}), or --structure FILE with --engine vasp, gpaw, cp2k or ase"
        )
    from idealflow.workflow.config.templates.for_structure import config_for
    from idealflow.workflow.jobs.progress import NOTES, Progress, listening

    def tell(event: Progress) -> None:
        if event.stage in NOTES:
            sys.stderr.write(f"idealflow: {event.message}\n")

    with listening(tell):
        sys.stdout.write(config_for(structure, engine))
    return 0
