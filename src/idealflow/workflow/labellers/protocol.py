"""What a labeller has to offer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ase import Atoms

from idealflow.labelling import Label

__all__ = ["Labeller"]


@runtime_checkable
class Labeller(Protocol):
    """Anything that labels: give it atoms and an empty directory, get energy, forces and maybe stress."""

    @property
    def method(self) -> str:
        """What the labels are; stand-ins for DFT say so."""

    def check_site(self, species: Iterable[str]) -> None:
        """Raise InputError, naming the setting to make, where this machine cannot label these species."""

    def label(self, atoms: Atoms, directory: Path) -> tuple[Label, bytes | None]:
        """Label (eV, eV/Å, eV/Å³) and the engine's own whole document as JSON, if it has one.

        Raises
        ------
        LabelError
            With the cause, if there is no label.
        """

    @property
    def cores(self) -> int:
        """Cores that a label takes, where the engine does not say."""

    def science(self) -> dict[str, Any]:
        """What decides a label, as plain values: a stored label of the same science and geometry is used again."""

    def as_dict(self) -> dict[str, Any]:
        """MSON form, from which the labeller is made again; a change of its hash lifts the quarantine."""
