"""The config that a command is given, and the one that it prints."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from idealflow.config_text import read_config
from idealflow.errors import InputError

__all__ = ["checked_config", "init"]


def checked_config(path: Path) -> tuple[Any, Any, dict[str, Any], list[str]]:
    """Read and check a config.

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
            return *load_config(path), notes
        except InputError:
            sys.stdout.writelines(f"{message}\n" for message in notes)
            raise


def init(arguments: argparse.Namespace) -> int:
    """Print a commented config.

    Examples
    --------
    >>> init(argparse.Namespace(name="cu-melt"))  # doctest: +ELLIPSIS
    #...
    0
    """
    from idealflow.workflow.config.templates import template

    sys.stdout.write(template(arguments.name))
    return 0
