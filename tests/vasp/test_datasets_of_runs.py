"""Folders of VASP runs as datasets: the emulation's vasprun.xml, and OUTCAR where there is none."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from idealflow.workflow.frames.datasets import read_dataset
from idealflow.workflow.jobs.progress import noted
from support import emulated_vasp

INCAR = {"NELM": "60", "NSW": "0", "ISMEAR": "1", "ISPIN": "1", "EDIFF": "1E-6", "ENCUT": "520", "GGA": "PE"}


def run(seed: int) -> emulated_vasp.Run:
    """A static run of rattled copper."""
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=seed)
    atoms.calc = EMT()
    stress = -emulated_vasp.KBAR * atoms.get_stress(voigt=False)
    return emulated_vasp.Run(
        atoms, INCAR, [1, 1, 1], "Gamma", atoms.get_potential_energy(), atoms.get_forces(), stress, 3
    )


def outcar(done: emulated_vasp.Run) -> str:
    """The lines of an OUTCAR that say what was computed, as VASP 6 writes them; the stress in kB as XX YY ZZ XY YZ ZX."""
    rows = "\n".join(
        " ".join(f"{value:13.6f}" for value in (*position, *force))
        for position, force in zip(done.atoms.positions, done.forces, strict=True)
    )
    s = done.stress
    cell = "\n".join(" ".join(f"{value:13.9f}" for value in (*row, 0, 0, 0)) for row in done.atoms.cell.array)
    stress = " ".join(f"{value:.5f}" for value in (s[0, 0], s[1, 1], s[2, 2], s[0, 1], s[1, 2], s[2, 0]))
    return f""" vasp.6.4.2
 POTCAR:    PAW_PBE Cu 22Jun2005
 POTCAR:    PAW_PBE Cu 22Jun2005
   VRHFIN =Cu: d10 p1
   TITEL  = PAW_PBE Cu 22Jun2005
   ISPIN  =      1    spin polarized calculation?
   ions per type =               4
   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    NBANDS=      2
 k-points in reciprocal lattice and weights: Gamma
   0.00000000  0.00000000  0.00000000       1.000
   IBRION =     -1
--------------------------------------- Iteration      1(   1)  ---------------------------------------
  in kB    {stress}
 direct lattice vectors                 reciprocal lattice vectors
{cell}

 POSITION                                       TOTAL-FORCE (eV/Angst)
 -----------------------------------------------------------------------------------
{rows}
 -----------------------------------------------------------------------------------
    total drift:                                0.000000      0.000000      0.000000

  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy   TOTEN  = {done.energy:18.8f} eV

  energy  without entropy= {done.energy + 0.4:18.8f}  energy(sigma->0) = {done.energy + 0.2:18.8f}
 General timing and accounting informations for this job:
"""


def assert_label(atoms: Atoms, done: emulated_vasp.Run, tolerance: float = 2e-6) -> None:
    assert atoms.get_potential_energy() == pytest.approx(done.energy, abs=1e-6)
    np.testing.assert_allclose(atoms.get_forces(), done.forces, atol=tolerance)
    np.testing.assert_allclose(atoms.get_stress(), done.atoms.get_stress(), atol=tolerance)


def test_every_run_of_a_folder_is_read_with_the_energy_that_its_forces_belong_to(tmp_path: Path) -> None:
    runs = [run(seed) for seed in range(3)]
    for name in ("a", "b", "c/deep"):
        (tmp_path / name).mkdir(parents=True)
    text = emulated_vasp.vasprun(runs[0])
    sigma_to_zero = emulated_vasp.tag("e_0_energy", f"{runs[0].energy:.10f}")
    assert sigma_to_zero in text
    (tmp_path / "a" / "vasprun.xml").write_text(
        text.replace(sigma_to_zero, emulated_vasp.tag("e_0_energy", f"{runs[0].energy + 0.2:.10f}"))
    )
    (tmp_path / "a" / "OUTCAR").write_text("the same run again")
    with gzip.open(tmp_path / "b" / "vasprun.xml.gz", "wt") as file:
        file.write(emulated_vasp.vasprun(runs[1]))
    (tmp_path / "c" / "deep" / "OUTCAR").write_text(outcar(runs[2]))
    with noted() as notes:
        read = read_dataset(tmp_path)
    assert len(read) == 3
    for atoms, done in zip(read, runs, strict=True):
        assert_label(atoms, done)
    assert "energy from `free_energy`" in notes[0]
    assert "by up to 50.0 meV per atom" in notes[0]
    (one,) = read_dataset(tmp_path / "a" / "vasprun.xml")
    assert_label(one, runs[0])
