"""Classes by their import path: of installed packages, on PYTHONPATH, or in a folder that the user names."""

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
        Folder that is added to the end of this process's import path; None: no folder.

    Raises
    ------
    InputError
        If the module is missing, raises anything while it is imported, or has no such name.

    Examples
    --------
    >>> from idealflow.workflow.labellers.importing import import_class
    >>> import_class("ase.calculators.emt.EMT").__name__
    'EMT'
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
    """Refuse anything but a class of ASE calculators, or a function written in Python (which may return one).

    Parameters
    ----------
    path
        Import path that the user gave, for the message.
    made_by
        What stands at that path.

    Raises
    ------
    InputError
        Naming the path.

    Examples
    --------
    >>> import math
    >>> from idealflow.workflow.labellers.importing import check_calculator
    >>> check_calculator("math.pi", math.pi)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    idealflow.errors.InputError: math.pi is no ASE calculator but a float; give the import path of a calculator's class, ...
    """
    is_class = inspect.isclass(made_by) and hasattr(made_by, "get_potential_energy")
    if not (is_class or inspect.isfunction(made_by)):
        raise InputError(
            f"{path} is no ASE calculator but a {type(made_by).__name__}; give the import path of a calculator's class, "
            "e.g. ase.calculators.emt.EMT, or of a function that returns a calculator"
        )


def one_line(error: BaseException) -> str:
    r"""Class and text of an error, in one line.

    Examples
    --------
    >>> from idealflow.workflow.labellers.importing import one_line
    >>> one_line(ValueError("two\nlines"))
    'ValueError: two lines'
    """
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
