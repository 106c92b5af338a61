"""Labels from any ASE calculator, in a worker process of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ase import Atoms

from idealflow.labelling import AseEngine, Label
from idealflow.workflow.jobs.identity import StableName

__all__ = ["AseLabeller"]


@dataclass
class AseLabeller(StableName):
    """Labels from an ASE calculator, computed in a separate process with a time limit.

    Attributes
    ----------
    calculator
        Import path of the calculator class, e.g. ``ase.calculators.emt.EMT``.
    kwargs
        Keyword arguments of the calculator; plain values.
    time_limit_s
        Seconds after which a label counts as failed.
    reference
        Name shown in output and documents, e.g. ``EMT (stands in for DFT)``; default: the class name.
    import_from
        Folder of the calculator's module, where that is neither installed nor on PYTHONPATH; a config sets it to its own
        folder if need be.
    """

    calculator: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    time_limit_s: float | None = 600.0
    reference: str | None = None
    import_from: str | None = None

    @property
    def method(self) -> str:
        """What the labels are."""
        return self.reference or self.calculator.rsplit(".", 1)[-1]

    def as_dict(self) -> dict[str, Any]:
        """Fields as they are: monty would spread an attribute named ``kwargs`` over the mapping, past reading back."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        if self.import_from is None:  # as labellers were stored before they had one
            del values["import_from"]
        return {"@module": self.stored_module(), "@class": type(self).__name__, **values}

    @property
    def cores(self) -> int:
        """Threads of the worker."""
        return self.engine().threads

    def check_site(self, species: Iterable[str]) -> None:
        """The calculator was imported when the labeller was made; it needs nothing else."""

    def science(self) -> dict[str, Any]:
        """The calculator and its arguments; not its time limit or the name it is shown by."""
        return {"calculator": self.calculator, "kwargs": self.kwargs}

    def label(self, atoms: Atoms, directory: Path) -> tuple[Label, bytes | None]:  # noqa: ARG002  # no files needed
        """Label atoms in the worker; there is no document beyond the label itself."""
        return self.engine().label(atoms), None

    def engine(self) -> AseEngine:
        """The engine that labels; InputError for impossible settings."""
        return AseEngine(
            self.calculator,
            self.kwargs,
            time_limit_s=self.time_limit_s,
            name=self.method,
            import_from=self.import_from,
        )
