"""Weights that come inside the packages of universal force fields, and checkpoints: read as data, nothing is imported or run."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from idealflow.errors import ArtifactError, InputError, MissingExtraError, did_you_mean

__all__ = ["ShippedWeights", "read_as_data", "translated_as"]

T = TypeVar("T")


@dataclass(frozen=True)
class ShippedWeights:
    """Where a package keeps its weights.

    Attributes
    ----------
    title
        What the force field is called.
    package
        The package to import, which is not imported.
    extra
        The extra of idealflow that installs it.
    folder
        Folder in the package.
    files
        Name of the weights → file in that folder.

    Examples
    --------
    >>> weights = ShippedWeights("Mine", "absent_package", "mine", "weights", {"mine-1": "one.pth"})
    >>> weights.path("mine-2")
    Traceback (most recent call last):
    idealflow.errors.InputError: no weights of Mine are called 'mine-2' (did you mean 'mine-1'?); known: mine-1
    """

    title: str
    package: str
    extra: str
    folder: str
    files: Mapping[str, str]

    def path(self, name: str) -> Path:
        """Path of the weights of a name.

        Raises
        ------
        InputError
            For a name that the package does not ship.
        MissingExtraError
            If the package is not installed; the message holds the pip command.
        """
        if name not in self.files:
            known = list(self.files)
            raise InputError(
                f"no weights of {self.title} are called {name!r}{did_you_mean(name, known)}; known: {', '.join(known)}"
            )
        found = find_spec(self.package)
        command = f"pip install 'idealflow[{self.extra}]'"
        # a folder of this name that is no package has no origin
        if found is None or found.origin is None or not found.submodule_search_locations:
            raise MissingExtraError(f"the weights {name} come with a package: {command}")
        path = Path(next(iter(found.submodule_search_locations))) / self.folder / self.files[name]
        if not path.is_file():
            raise InputError(f"this version of {self.package} ships no {name} ({path}); {command}")
        return path


def read_as_data(path: Path, what: str, read: Callable[[Path], T]) -> T:
    """What ``read`` finds in a file; a file that it cannot read is named as such.

    Parameters
    ----------
    path
        The file.
    what
        What it should be: ``"chgnet's checkpoint"``.
    read
        Reads it, and may raise what torch, pickle and a look-up raise.

    Raises
    ------
    ArtifactError
        If the file is missing, cut short, or something else.

    Examples
    --------
    >>> read_as_data(Path("absent.pth"), "a checkpoint", read=Path.read_bytes)
    Traceback (most recent call last):
    idealflow.errors.ArtifactError: absent.pth does not exist; expected a checkpoint
    """
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist; expected {what}")
    try:
        return read(path)
    except (RuntimeError, OSError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        cause = " ".join(str(error).split())[:200]
        raise ArtifactError(f"{path} is not {what}, or is damaged ({cause}); give a whole one") from error


def translated_as(title: str, path: str | Path, translate: Callable[..., T], *contents: Any) -> T:
    """What ``translate(*contents, str(path))`` makes of a checkpoint's contents.

    Raises
    ------
    InputError
        For a model that it cannot be made of.

    Examples
    --------
    >>> translated_as("Mine", "one.pth", lambda state, path: state["a"], {"b": 1})
    Traceback (most recent call last):
    idealflow.errors.InputError: one.pth is no model of Mine that can be read here: 'a'
    """
    try:
        return translate(*contents, str(path))
    except (KeyError, IndexError, RuntimeError) as error:
        cause = " ".join(str(error).split())
        raise InputError(f"{path} is no model of {title} that can be read here: {cause}") from error
