"""The files that a label's program would be given, written ahead: a dry run, and something to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from idealflow.errors import InputError
from idealflow.workflow.campaign.settings import CampaignSettings
from idealflow.workflow.check.trial_label import tiniest
from idealflow.workflow.labellers.vasp import VaspLabeller

__all__ = ["write_inputs"]


def write_inputs(maker: CampaignSettings, atoms: Atoms, cells: Sequence[Atoms], folder: Path) -> list[str]:
    """Write VASP's files for one small structure that the campaign begins with, and for cells that it might label.

    Parameters
    ----------
    maker, atoms
        The campaign, whose settings are sound, and its frame at step 0.
    cells
        Cells as they would be labelled, or nearly so: nothing relaxes them.
    folder
        Gets a subfolder for each structure, ``first`` and ``cell-0`` to the last. Other files in it are left alone.

    Returns
    -------
    list of str
        What was written, a line for each structure.

    Raises
    ------
    InputError
        If the labeller is not VASP, one of the subfolders exists, or a tag is none that VASP would take.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from idealflow import IdealMaker, LabelMaker, vasp_static
    >>> maker = IdealMaker(label=LabelMaker(vasp_static("metal")))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     said = write_inputs(maker, bulk("Cu"), [bulk("Cu") * 2], Path(folder))
    >>> said[1].rpartition("/")[2]
    'cell-0: 8 atoms, k points 8×8×8 Gamma, ISPIN 1'
    """
    labeller = maker.label.labeller
    if not isinstance(labeller, VaspLabeller):
        raise InputError(
            f"--inputs writes the files of VASP, and the labeller is {maker.label.method}; give label.labeller a maker of "
            "atomate2's VASP, such as idealflow.vasp_static, or leave --inputs out"
        )
    tiny, _ = tiniest(maker, atoms)
    wanted = {"first": tiny} | {f"cell-{number}": cell for number, cell in enumerate(cells)}
    for name in wanted:
        if (folder / name).exists():
            raise InputError(f"{folder / name} exists; name another folder with --inputs, or remove it")
    said = []
    for name, structure in wanted.items():
        told = labeller.write_inputs(structure, folder / name)
        said.append(f"{folder / name}: {len(structure)} atoms, {told}")
    return said
