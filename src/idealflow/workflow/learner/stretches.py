"""What an update that was killed had finished: the force field after each stretch of its training, in the job's folder."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from idealflow.errors import IdealflowError
from idealflow.forcefields import ForceField, load_force_field
from idealflow.storage import replacing
from idealflow.workflow.jobs.progress import Progress, emit

__all__ = ["Stretch", "Stretches"]

#: a stretch that ends sooner after what was kept last is not kept: it is as soon made again; no result depends on it
KEEP_EVERY_S = 10.0


@dataclass(frozen=True)
class Stretch:
    """The end of a stretch of training.

    Attributes
    ----------
    force_field
        As it is then, the state of its optimiser included.
    new_after
        Its errors on the new structures, (n, 3): energy eV/atom, forces eV/Å, stress eV/Å³.
    atom_steps
        Atoms in a batch, summed over the steps.
    loss
        The last one.

    Examples
    --------
    >>> list(Stretch.__annotations__)
    ['force_field', 'new_after', 'atom_steps', 'loss']
    """

    force_field: ForceField
    new_after: np.ndarray
    atom_steps: int
    loss: float | None


@dataclass
class Stretches:
    """The stretches of one update, in a folder that is there as long as the update's job.

    Attributes
    ----------
    folder
        Where they are kept.
    every_s
        Seconds after what was kept last within which nothing is.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> cells = [set_label(bulk("Cu"), energy=-3.5, forces=np.zeros((1, 3)))]
    >>> force_field = get_force_field("local", species=["Cu"], cutoff=3.0, hidden=[4])
    >>> report = force_field.fit(cells, steps=3)
    >>> kept = Stretches(Path("update"), every_s=0.0)
    >>> kept.keep("first", Stretch(force_field, report.errors, report.atom_steps, None))
    >>> again = Stretches(Path("update")).found("first")
    >>> np.array_equal(again.new_after, report.errors, equal_nan=True), Stretches(Path("update")).found("second")
    (True, None)
    """

    folder: Path
    every_s: float = field(default_factory=lambda: KEEP_EVERY_S)
    _kept: float = field(default_factory=time.monotonic, repr=False)

    def found(self, task: str) -> Stretch | None:
        """The stretch that an earlier process ended, if it kept it and it can be read.

        ``task`` names all that its outcome depends on.
        """
        told = self.folder / f"{task}.json"
        if not told.exists():
            return None
        try:
            about = json.loads(told.read_text())
            force_field = load_force_field(self.folder / f"{task}.model")
            return Stretch(force_field, np.array(about["new_after"], dtype=float), about["atom_steps"], about["loss"])
        except (IdealflowError, ValueError, KeyError) as error:  # cut short; trained again, it has the same bits
            emit(Progress("update", message=f"a stretch that an interrupted update kept is trained again: {error}"))
            return None

    def keep(self, task: str, stretch: Stretch) -> None:
        """Keep a stretch, the model first, so that one of which there is the rest is whole; not if one was kept just now."""
        if time.monotonic() - self._kept < self.every_s:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        stretch.force_field.save(self.folder / f"{task}.model")
        loss = None if stretch.loss is None else float(stretch.loss)  # a force field may report numpy's numbers
        about = {"new_after": stretch.new_after.tolist(), "atom_steps": int(stretch.atom_steps), "loss": loss}
        with replacing(self.folder / f"{task}.json") as draft:
            draft.write_text(json.dumps(about))
        self._kept = time.monotonic()
