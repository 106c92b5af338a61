"""Whether the program that an engine's command starts is on this machine."""

from __future__ import annotations

import shlex
import shutil
from os.path import expandvars
from pathlib import Path

__all__ = ["absent_program"]


def absent_program(command: str, engine: str, variable: str) -> str | None:
    """Say that a program of a command is not on PATH, and which setting mends it; None if all are.

    Parameters
    ----------
    command
        As atomate2 starts it, such as ``srun vasp_std``; variables of the environment are expanded.
    engine
        How names of the engine's programs begin, by which they are told from other words of the command.
    variable
        The setting of atomate2 that names the command, such as ``VASP_CMD``.

    Examples
    --------
    >>> print(absent_program("absent_cp2k -s", "cp2k", "CP2K_CMD"))
    `absent_cp2k` of the command `absent_cp2k -s` is not on PATH; set ATOMATE2_CP2K_CMD in the environment, or CP2K_CMD in \
~/.atomate2.yaml (such as CP2K_CMD: srun cp2k.psmp), before the program starts
    >>> absent_program("python --version", "python", "CP2K_CMD") is None
    True
    """
    whole = expandvars(command)
    words = shlex.split(whole)
    programs = words[:1] + [word for word in words[1:] if Path(word).name.startswith(engine)]
    absent = [word for word in programs if shutil.which(word) is None]
    if not absent:
        return None
    usual = {"vasp": "vasp_std", "cp2k": "cp2k.psmp"}.get(engine, engine)
    return (
        f"`{absent[0]}` of the command `{whole}` is not on PATH; set ATOMATE2_{variable} in the environment, or {variable} in "
        f"~/.atomate2.yaml (such as {variable}: srun {usual}), before the program starts"
    )
