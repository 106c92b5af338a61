"""Labels that are computed elsewhere: what is asked for is written to files, and the labels are brought back from files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms
from monty.json import MSONable

from idealflow.errors import InputError, LabelElsewhereError
from idealflow.labelling import Label
from idealflow.workflow.jobs.identity import StableName

__all__ = ["ExternalLabeller"]


@dataclass
class ExternalLabeller(StableName, MSONable):
    """A method that computes labels where nothing of ours may run.

    A campaign with it stops as paused whenever only such labels are missing. `idealflow export --requests` writes the cells,
    `idealflow import` brings the labels back, and `idealflow run` goes on.

    Attributes
    ----------
    external
        Name of the method with what decides its labels, e.g. ``VASP 6.4 PBE 520 eV``; shown in output and documents. Labels of
        another name are another method's.
    settings
        Whatever else decides a label, as plain values, for the data card; labels with other settings are another method's.
    vasp
        Arguments of :func:`~idealflow.vasp_static` (``kind``, ``variant``, ``incar``, ...), with which `idealflow export
        --requests --format vasp` writes INCAR and KPOINTS beside POSCAR. None: POSCAR alone. They decide labels, too.

    Raises
    ------
    InputError
        If the name is empty, or ``vasp`` are no arguments of that function.

    Examples
    --------
    >>> labeller = ExternalLabeller("PBE, 520 eV", vasp={"kind": "metal"})
    >>> labeller.method, labeller.science()["vasp"]
    ('PBE, 520 eV', {'kind': 'metal'})
    """

    external: str
    settings: dict[str, Any] = field(default_factory=dict)
    vasp: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Refuse what says nothing, and inputs that could not be written."""
        if not self.external.strip():
            raise InputError("labeller: `external` names the method that computes the labels elsewhere, got nothing")
        if self.vasp is not None:
            self.vasp_inputs()

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.external

    @property
    def cores(self) -> int:
        """Nothing is computed here: one, as for labels whose cost is not known."""
        return 1

    def vasp_inputs(self) -> Any:
        """The input set of VASP that ``vasp`` describes; None where there is none."""
        if self.vasp is None:
            return None
        from idealflow.workflow.labellers.vasp import vasp_static

        try:
            return vasp_static(**self.vasp).input_set_generator
        except TypeError as error:
            raise InputError(
                f"labeller: `vasp` has the arguments of idealflow.vasp_static, got {self.vasp}: {error}"
            ) from error

    def check_site(self, species: Iterable[str]) -> None:
        """Do nothing: this machine computes no labels."""

    def label(self, atoms: Atoms, directory: Path) -> tuple[Label, bytes | None]:  # noqa: ARG002  # the protocol's signature
        """Say that there is no label yet; LabelElsewhereError."""
        raise LabelElsewhereError(f"{self.external} is computed elsewhere")

    def science(self) -> dict[str, Any]:
        """What decides a label: all that is said of the method."""
        return {"external": self.external, "settings": self.settings, "vasp": self.vasp}
