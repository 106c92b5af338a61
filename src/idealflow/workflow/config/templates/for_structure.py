"""`idealflow init --structure`: a commented config for a structure of the user's."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses

from idealflow.core.fixed_atoms import fixed_directions
from idealflow.errors import InputError
from idealflow.structures import cell_around
from idealflow.structures.charges import ionic_charges
from idealflow.workflow.config.templates.engines import check_engine_name, label_section
from idealflow.workflow.config.templates.rules import (
    Descriptor,
    kind_of,
    repeats,
    representatives,
    small_cell,
)
from idealflow.workflow.frames.build import build_structure

__all__ = ["config_for"]

#: of four and more species
_MANY_SPECIES = """
  # of so many species `compression: {mode: mu1nu1}` in it screens in half the time, but sees less of what is new in chemistry"""

_TEXT = """\
# {name}: {formula}, labelled by {engine}. Written by `idealflow init --structure`; each value was chosen by the rule beside it.
# Next: `idealflow check` this file, with --label for one tiny label, then `idealflow run` it.
campaign: {name}
seed: 0

{structure}
threshold: auto        # normalised uncertainty (1 = in distribution) above which an atom asks for a label
embedding: ides        # ides | crop | vacuum | frame
max_failed_labels: 20

# The first model learns these, strained and rattled.
bootstrap:
  seeds:               # {seeds_why}
{seeds}
  n_structures: {n_structures}
  min_atoms: {min_atoms}        # smaller seeds are repeated
  rattle: [0.02, 0.2]  # Å
  strain: 0.04
  # r_cut: 1.78 times the mean spacing of atoms, {spacing:.2f} Å, but between 4 and 5.2 Å; the true cutoff,
  # r_cut + 3.717 sigma, is {cutoff:.2f} Å{many_species}
  soap: {{r_cut: {r_cut}, n_max: {n_max}, l_max: 6, sigma: {sigma}}}
  force_field: local
  force_field_settings: {{cutoff: {ff}}}   # Å: not beyond what the uncertainty sees

segment:
  sampler: {{name: langevin, timestep: {timestep}, friction: 0.01}}   # fs, 1/fs; {timestep_why}
  schedule:            # what you want to simulate
    - {{kind: hold, temperature: 300, steps: 2000}}
    - {{kind: ramp, temperature: 300, to: 600, steps: 4000}}
  check_interval: 10
  segment_steps: 500

screen: {{max_centres: 4}}
{crop}
relax: {{max_steps: 300, max_crops: 3, cell: true, objective: frame-hinge}}

{label}
update: {{n_steps: 20, n_replay: 16, learning_rate: 0.0003}}

evaluation: {{n_frames: {n_frames}}}   # whole frames, labelled at the end to compare first and last model{n_frames_why}
"""


@dataclass(frozen=True)
class _Seeds:
    lines: list[str]
    why: str
    n_structures: int


def config_for(path: Path, engine: str) -> str:
    r"""Write a config for a structure.

    Parameters
    ----------
    path
        File that ase or pymatgen reads.
    engine
        ``vasp``, ``gpaw``, ``cp2k`` or ``ase``.

    Returns
    -------
    str
        YAML with comments. The structure's path in it is absolute, so the config may lie anywhere.

    Raises
    ------
    InputError
        For an unknown engine, or a structure that cannot be used (see :func:`~idealflow.workflow.frames.build.build_structure`).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.io import write
    >>> write("POSCAR", bulk("NaCl", "rocksalt", a=5.64, cubic=True))
    >>> text = config_for(Path("POSCAR"), "vasp")
    >>> print(*[line.strip() for line in text.splitlines() if "oxidation_" in line or "maker:" in line], sep="\n")
    oxidation_states: {Cl: -1, Na: 1}
    maker: idealflow.vasp_static
    """
    check_engine_name(engine)
    atoms = build_structure(path)
    descriptor = Descriptor.of(atoms)
    states = ionic_charges(atoms)
    repeat = repeats(atoms, descriptor.cutoff)
    n_frame = len(atoms) * int(np.prod(repeat))
    seeds = _seeds(path, atoms, descriptor, states)
    light = min(float(atomic_masses[number]) for number in set(atoms.numbers))
    timestep = 0.5 if light < 1.5 else 1.0 if light < 40.0 else 2.0
    few = n_frame <= 2000 and engine == "ase"
    return _TEXT.format(
        name=_name(path),
        formula=atoms.get_chemical_formula(empirical=True),
        engine=engine,
        structure=_structure(path, atoms, repeat, n_frame),
        seeds="\n".join(f"    - {line}" for line in seeds.lines),
        seeds_why=seeds.why,
        n_structures=seeds.n_structures,
        min_atoms=30,
        spacing=descriptor.volume ** (1.0 / 3.0),
        cutoff=descriptor.cutoff,
        many_species=_MANY_SPECIES if len(set(atoms.numbers)) >= 4 else "",
        r_cut=descriptor.r_cut,
        n_max=descriptor.n_max,
        sigma=descriptor.sigma,
        ff=descriptor.force_field,
        timestep=timestep,
        timestep_why=f"the lightest atom has {light:.0f} u",
        crop=_crop(descriptor, states, n_frame, len(set(atoms.numbers))),
        label=label_section(engine, atoms, kind_of(atoms, states)),
        n_frames=5 if few else 0,
        n_frames_why="" if few else ": too dear" if engine != "ase" else ": many atoms",
    )


def _name(path: Path) -> str:
    """A campaign's name from the file's: its stem, or its folder's name for POSCAR and CONTCAR."""
    stem = path.absolute().parent.name if path.name in ("POSCAR", "CONTCAR") else path.stem
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-") or "campaign"


def _quoted(path: Path) -> str:
    return json.dumps(str(path.absolute()), ensure_ascii=False)


def _structure(path: Path, atoms: Atoms, repeat: list[int], n_frame: int) -> str:
    fixed = int(fixed_directions(atoms).any(axis=1).sum())
    said = f"# {fixed} atoms are held fixed, as the file says.\n" if fixed else ""
    if repeat == [1, 1, 1]:
        return f"{said}structure: {_quoted(path)}   # {len(atoms)} atoms\n"
    return (
        f"{said}structure:\n  file: {_quoted(path)}\n"
        f"  repeat: {repeat}    # {n_frame} atoms: at least 3.5 times as wide as the uncertainty sees\n"
    )


def _seeds(path: Path, atoms: Atoms, descriptor: Descriptor, states: dict[str, float] | None) -> _Seeds:
    cell, what = small_cell(atoms)
    if cell is atoms:
        return _Seeds([_quoted(path)], what, 48)
    if cell is not None:
        return _Seeds([_inline(cell)], f"the {what}: {len(cell)} of {len(atoms)} atoms", 48)
    radius = round(0.5 * (60.0 * descriptor.volume) ** (1.0 / 3.0), 1)
    lines, problem = [], ""
    for atom in representatives(atoms, descriptor):
        given: dict[str, Any] = {"atom": atom, "radius": radius}
        if states is not None:
            given["oxidation_states"] = states
        try:
            cell_around(atoms, **given)
        except InputError as error:
            problem = str(error)
            continue
        rest = ", ".join(f"{key}: {_flow(value)}" for key, value in given.items())
        lines.append(f"{{builder: cell_around, atoms: {_quoted(path)}, {rest}}}")
    if not lines:
        raise InputError(
            f"no small cell can be cut out of {path} to begin with ({problem}); write a config by `idealflow init cu-melt` "
            "and give bootstrap.seeds or bootstrap.dataset"
        )
    why = "no smaller cell has this structure: cells around atoms whose surroundings differ most. Add crystals and molecules"
    return _Seeds(lines, f"{why} you know", 8 * len(lines))


def _inline(cell: Atoms) -> str:
    """A structure as a mapping in one line."""
    numbers = cell.numbers.tolist()
    positions, vectors = np.round(cell.positions, 8).tolist(), np.round(cell.cell.array, 8).tolist()
    return f"{{numbers: {numbers}, positions: {positions}, cell: {vectors}, pbc: [true, true, true]}}"


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {number:g}" for key, number in value.items()) + "}"
    return str(value)


def _crop(descriptor: Descriptor, states: dict[str, float] | None, n_frame: int, n_species: int) -> str:
    budget = descriptor.budget
    whole = "; this frame has no more, and is labelled whole" if n_frame <= budget else ""
    lines = [
        "crop:",
        "  n_candidates: 50",
        f"  # a cell is at least {2 * descriptor.cutoff:.2f} Å wide, about {descriptor.least_atoms} atoms, and the budget twice"
        f" that{whole}",
        f"  max_atoms: {budget}",
    ]
    if states is not None:
        lines += [
            "  # guessed by pymatgen from the composition: every crop is made neutral. {} would let crops be charged",
            f"  oxidation_states: {_flow(states)}",
        ]
    elif n_species > 1:
        lines.append("  # no oxidation states: not an ionic crystal of whole charges")
    return "\n".join(lines)
