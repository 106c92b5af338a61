"""What waits for a label from outside, written as files for whoever computes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write

from idealflow.core.extxyz import write_extxyz
from idealflow.core.structure import of_the_label
from idealflow.errors import InputError
from idealflow.labelling import in_a_box
from idealflow.provenance import Campaign
from idealflow.schemas import LabelledDoc
from idealflow.workflow.frames.encode import to_atoms
from idealflow.workflow.labellers import ExternalLabeller
from idealflow.workflow.labellers.static import to_pymatgen

__all__ = ["REQUEST_FILE", "REQUEST_FORMATS", "awaited", "awaited_requests"]

#: file in a folder of VASP's inputs that says whose they are
REQUEST_FILE = "request.json"


def awaited(campaign: Campaign) -> list[LabelledDoc]:
    """Return the documents of the present round that wait for a label from outside, in order of their request keys.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> awaited(sample_campaign())  # its labels are computed where it runs
    []
    """
    state = campaign.state()
    number = 0 if state is None else state.round
    docs: list[LabelledDoc] = [*campaign.labels(state="awaited", round=number)]
    docs += campaign.substructures(state="awaited", round=number)
    return sorted(docs, key=lambda doc: doc.request_key)


def awaited_requests(campaign: Campaign) -> dict[str, Atoms]:
    """Return the cells that wait for a label, by request key; a cell that is asked for twice once.

    Raises
    ------
    InputError
        If none does.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> awaited_requests(sample_campaign())
    Traceback (most recent call last):
    idealflow.errors.InputError: campaign tiny waits for no label from outside; `idealflow status` says where it stands
    """
    found: dict[str, Atoms] = {}
    known: set[str | None] = set()
    for doc in awaited(campaign):
        if doc.structure is not None and doc.geometry_key not in known:
            known.add(doc.geometry_key)
            found[doc.request_key] = of_the_label(to_atoms(doc.structure))
    if not found:
        raise InputError(
            f"campaign {campaign.name} waits for no label from outside; `idealflow status` says where it stands"
        )
    return found


def _extxyz(path: Path, requests: dict[str, Atoms], _: ExternalLabeller) -> None:
    write_extxyz(
        path,
        (
            (
                atoms,
                {"request_key": key} | {name: atoms.info.get(name) for name in ("charge", "spin")},
                {name: atoms.arrays[name] for name in ("initial_magmoms",) if name in atoms.arrays},
            )
            for key, atoms in requests.items()
        ),
    )


def _vasp(path: Path, requests: dict[str, Atoms], labeller: ExternalLabeller) -> None:
    inputs = labeller.vasp_inputs()
    for key, atoms in requests.items():
        boxed = in_a_box(atoms)
        boxed = boxed[np.argsort(boxed.get_chemical_symbols(), kind="stable")]  # one block for each species
        folder = path / key.replace("/", "_")
        folder.mkdir()
        (folder / REQUEST_FILE).write_text(json.dumps({"request_key": key}) + "\n", encoding="utf-8")
        if inputs is None:
            write(folder / "POSCAR", boxed, format="vasp", direct=True)
        else:
            inputs.get_input_set(to_pymatgen(boxed), potcar_spec=True).write_input(folder)


REQUEST_FORMATS: dict[str, Callable[[Path, dict[str, Atoms], ExternalLabeller], Any]] = {
    "extxyz": _extxyz,
    "vasp": _vasp,
}
"""Format → function that writes cells by request key: ``extxyz`` one file, ``vasp`` a folder for each cell in a new folder."""
