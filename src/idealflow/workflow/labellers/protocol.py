"""What a labeller has to offer: the protocol that a campaign labels through."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ase import Atoms

from idealflow.labelling import Label

__all__ = ["Labeller"]


@runtime_checkable
class Labeller(Protocol):
    """Anything that labels: it gets atoms and an empty directory, and returns energy, forces and maybe stress.

    A class of your own needs no base class; these members make it a labeller. A stored campaign makes it again from its
    ``as_dict``, so the class needs monty's ``from_dict`` (as an ``MSONable`` has it).

    Examples
    --------
    >>> from idealflow import AseLabeller
    >>> from idealflow.workflow.labellers import Labeller
    >>> isinstance(AseLabeller("ase.calculators.emt.EMT"), Labeller)
    True
    """

    @property
    def method(self) -> str:
        """Name of the method that the labels are of; a stand-in for DFT says that it is one."""

    def check_site(self, species: Iterable[str]) -> None:
        """Raise InputError, naming the setting to make, where this machine cannot label these species."""

    def label(self, atoms: Atoms, directory: Path) -> tuple[Label, bytes | None]:
        """Label atoms.

        Parameters
        ----------
        atoms
            Structure, of any periodicity.
        directory
            Empty folder for the engine's files.

        Returns
        -------
        label, document
            Energy (eV), forces (eV/Å) and stress (eV/Å³); and the engine's own document as JSON, None if it has none.

        Raises
        ------
        LabelError
            With the cause, if there is no label. The campaign records it and goes on.
        """

    @property
    def cores(self) -> int:
        """Cores that a label takes, used for its cost where the engine does not say."""

    def science(self) -> dict[str, Any]:
        """What decides a label, as plain values. A stored label of the same science and geometry is used again."""

    def as_dict(self) -> dict[str, Any]:
        """Stored form, from which the labeller is made again. Centres in quarantine may trigger again when it changes."""
