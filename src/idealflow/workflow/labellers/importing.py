"""Classes by their import path, from what is installed, on PYTHONPATH, or in a folder of the user's."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from idealflow.errors import InputError

__all__ = ["check_calculator", "import_class", "one_line"]


def import_class(path: str, folder: str | None = None) -> Any:
    """The class or function of an import path such as ``ase.calculators.emt.EMT``.

    Parameters
    ----------
    folder
        Folder that joins the end of the import path of this process, None for none.

    Raises
    ------
    InputError
        If the module is missing or fails, whatever it raises, or has no such name.
    """
    if folder is not None:
        if not Path(folder).is_dir():
            raise InputError(f"import_from {folder} is not a folder; give the one that holds the module of {path!r}")
        if folder not in sys.path:
            sys.path.append(folder)
    module, _, name = str(path).rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # a module may raise anything while it is imported; the cause is passed on
        raise InputError(
            f"cannot import {path!r} ({one_line(error)}); give the full path, e.g. ase.calculators.emt.EMT, of a module that "
            "is installed, on PYTHONPATH, or beside the config"
        ) from error


def check_calculator(path: str, made_by: Any) -> None:
    """Refuse what cannot make an ASE calculator: anything but a class of calculators or a function written in Python.

    Raises
    ------
    InputError
        Naming the path.
    """
    is_class = inspect.isclass(made_by) and hasattr(made_by, "get_potential_energy")
    if not (is_class or inspect.isfunction(made_by)):
        raise InputError(
            f"{path} is no ASE calculator but a {type(made_by).__name__}; give the import path of a calculator's class, "
            "e.g. ase.calculators.emt.EMT, or of a function that returns a calculator"
        )


def one_line(error: BaseException) -> str:
    """Kind and text of an error, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
