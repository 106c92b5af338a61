"""Stands in for VASP in tests: reads its inputs, computes with an ASE calculator, writes its output files.

Not VASP: the numbers are the calculator's (EMT unless EMULATED_VASP_CALCULATOR names another), k points and tags are only
copied through. EMULATED_VASP_FATES makes it fail as VASP fails, for cells of more than EMULATED_VASP_SPARED atoms: a JSON list
of fates, which the first cells meet in turn (EMULATED_VASP_TURNS names the file that remembers them), so that every run
fails alike on every machine. The fates beside ``ok``:

- ``unconverged``: the electronic steps run out;
- ``truncated``: vasprun.xml ends in the middle;
- ``crashed``: it prints an error and ends with exit status 174, as a Fortran program that hit a segmentation fault;
- ``killed``: a SIGKILL ends it, as the kernel does when memory runs out;
- ``slow``: electronic steps of half a day each (its OUTCAR says) go on until a STOPCAR asks it to stop;
- ``k_points``: it uses another grid than KPOINTS says.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read

OFFSET = -4.0  # eV an atom, added to the calculator's energy: custodian takes a positive total energy for an error
KBAR = 1602.176634  # of one eV/Å³
CORES = 4
FATES = ("unconverged", "truncated", "crashed", "killed", "slow", "k_points")


@dataclass
class Run:
    """What VASP would know at the end of a static run."""

    atoms: Atoms
    incar: dict[str, str]
    grid: list[int]
    style: str
    energy: float
    forces: np.ndarray
    stress: np.ndarray
    steps: int
    step_s: float = 0.1

    @property
    def n_electrons(self) -> float:
        """Eleven a copper atom, as its POTCAR has; one elsewhere."""
        return float(sum(11 if symbol == "Cu" else 1 for symbol in self.atoms.get_chemical_symbols()))


def fate(atoms: Atoms) -> str:
    """The fate of these atoms; ``ok`` for small cells and where no fates are set."""
    fates: list[str] = json.loads(os.environ.get("EMULATED_VASP_FATES", "[]"))
    unknown = set(fates) - {"ok", *FATES}
    if unknown:
        raise SystemExit(f"no such fate: {sorted(unknown)}")
    if not fates or len(atoms) <= int(os.environ["EMULATED_VASP_SPARED"]):
        return "ok"
    return in_turn(fates, hashlib.sha256(np.round(atoms.positions, 6).tobytes()).hexdigest())


def in_turn(fates: list[str], cell: str) -> str:
    """The fate of the n-th cell is the n-th of the list, however often it is run; after the last all is well."""
    log = Path(os.environ["EMULATED_VASP_TURNS"])
    seen = log.read_text().split() if log.exists() else []
    if cell not in seen:
        seen.append(cell)
        log.write_text("\n".join(seen))
    turn = seen.index(cell)
    return fates[turn] if turn < len(fates) else "ok"


def read_incar() -> dict[str, str]:
    pairs = (line.partition("=") for line in Path("INCAR").read_text().splitlines() if "=" in line)
    return {key.strip().upper(): value.strip() for key, _, value in pairs}


def read_kpoints() -> tuple[list[int], str]:
    lines = Path("KPOINTS").read_text().splitlines()
    return [int(word) for word in lines[3].split()], "Gamma" if lines[2].strip().lower()[0] == "g" else "Monkhorst-Pack"


def computed() -> Run:
    """The run as it would go well."""
    atoms = read("POSCAR", format="vasp")
    module, _, name = os.environ.get("EMULATED_VASP_CALCULATOR", "ase.calculators.emt.EMT").rpartition(".")
    atoms.calc = getattr(importlib.import_module(module), name)()
    incar = read_incar()
    grid, style = read_kpoints()
    stress = -KBAR * atoms.get_stress(voigt=False)
    energy = float(atoms.get_potential_energy()) + OFFSET * len(atoms)
    return Run(atoms, incar, grid, style, energy, atoms.get_forces(), stress, 8)


def main() -> int:
    """Run in the current folder; the exit status."""
    sys.stdout.write(f" running on {CORES:4d} total cores\n emulation of VASP for tests\n")
    sys.stdout.flush()
    run = computed()
    drawn = fate(run.atoms)
    if drawn == "crashed":
        sys.stderr.write("forrtl: severe (174): SIGSEGV, segmentation fault occurred\n")
        return 174
    if drawn == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if drawn == "unconverged":
        run.steps = int(run.incar["NELM"])
    if drawn == "k_points":
        run.grid = [n + 1 for n in run.grid]
    if drawn == "slow":
        run.step_s = 43200.0
        wait_for_stopcar(run)
        run.steps = int(run.incar["NELM"])
    write(run)
    if drawn == "truncated":
        whole = Path("vasprun.xml").read_text()
        Path("vasprun.xml").write_text(whole[: 2 * len(whole) // 3])
    return 0


def wait_for_stopcar(run: Run) -> None:
    """Electronic steps until STOPCAR says LABORT; ten minutes are more than a test waits."""
    write(run)
    Path("vasprun.xml").unlink()
    for _ in range(6000):
        if Path("STOPCAR").exists() and "LABORT" in Path("STOPCAR").read_text():
            return
        time.sleep(0.1)
    raise SystemExit("nobody asked to stop")


def write(run: Run) -> None:
    Path("vasprun.xml").write_text(vasprun(run))
    Path("OUTCAR").write_text(outcar(run))
    Path("OSZICAR").write_text(oszicar(run))
    Path("CONTCAR").write_text(Path("POSCAR").read_text())


def varray(name: str, rows: Any) -> str:
    lines = "".join("<v>" + " ".join(f"{value:.12f}" for value in row) + "</v>\n" for row in rows)
    return f'<varray name="{name}">\n{lines}</varray>\n'


def tag(name: str, value: Any, kind: str | None = None) -> str:
    return f'<i {"" if kind is None else f"type={chr(34)}{kind}{chr(34)} "}name="{name}">{value}</i>\n'


def kind_of(value: str) -> str | None:
    """Type that VASP writes for a tag's value; None for real numbers."""
    if value.strip(".").upper() in {"TRUE", "FALSE", "T", "F"}:
        return "logical"
    if value.lstrip("+-").isdigit():
        return "int"
    return None if value.lstrip("+-")[:1].isdigit() else "string"


def written(value: str) -> str:
    return value.strip(".")[0].upper() if kind_of(value) == "logical" else value


def tags(incar: dict[str, str]) -> str:
    return "".join(tag(key, written(value), kind_of(value)) for key, value in incar.items() if key != "MAGMOM")


def structure(run: Run, name: str) -> str:
    volume = tag("volume", f"{run.atoms.get_volume():.8f}")
    reciprocal = varray("rec_basis", run.atoms.cell.reciprocal())
    crystal = f"<crystal>\n{varray('basis', run.atoms.cell)}{volume}{reciprocal}</crystal>\n"
    return f"<structure {name}>\n{crystal}{varray('positions', run.atoms.get_scaled_positions())}</structure>\n"


def atominfo(run: Run) -> str:
    symbols = run.atoms.get_chemical_symbols()
    kinds = list(dict.fromkeys(symbols))
    atoms = "".join(f"<rc><c>{symbol}</c><c>{kinds.index(symbol) + 1}</c></rc>\n" for symbol in symbols)
    types = "".join(
        f"<rc><c>{symbols.count(symbol)}</c><c>{symbol}</c><c>60.0</c><c>1.0</c><c>PAW_PBE {symbol} emulated</c></rc>\n"
        for symbol in kinds
    )
    return (
        f"<atominfo>\n<atoms>{len(symbols)}</atoms>\n<types>{len(kinds)}</types>\n"
        f'<array name="atoms"><dimension dim="1">ion</dimension><field type="string">element</field>'
        f'<field type="int">atomtype</field><set>\n{atoms}</set></array>\n'
        f'<array name="atomtypes"><dimension dim="1">type</dimension><field type="int">atomspertype</field>'
        f'<field type="string">element</field><field>mass</field><field>valence</field>'
        f'<field type="string">pseudopotential</field><set>\n{types}</set></array>\n</atominfo>\n'
    )


def eigenvalues() -> str:
    """Two bands at Γ, one filled."""
    rows = "<r>-1.0 1.0</r><r>1.0 0.0</r>"
    return (
        '<eigenvalues><array><dimension dim="1">band</dimension><dimension dim="2">kpoint</dimension>'
        '<dimension dim="3">spin</dimension><field>eigene</field><field>occ</field><set><set comment="spin 1">'
        f'<set comment="kpoint 1">{rows}</set></set></set></array></eigenvalues>\n'
    )


def density_of_states() -> str:
    """Of the two bands: energy, states per eV, states below."""
    rows = "<r>-1.0 1.0 1.0</r><r>0.0 0.0 1.0</r><r>1.0 1.0 2.0</r>"
    return (
        '<total><array><dimension dim="1">gridpoints</dimension><dimension dim="2">spin</dimension><field>energy</field>'
        f'<field>total</field><field>integrated</field><set><set comment="spin 1">{rows}</set></set></array></total>\n'
    )


def energies(value: float) -> str:
    return tag("e_fr_energy", f"{value:.10f}") + tag("e_wo_entrp", f"{value:.10f}") + tag("e_0_energy", f"{value:.10f}")


def vasprun(run: Run) -> str:
    grid = " ".join(str(n) for n in run.grid)
    steps = "".join(
        f"<scstep>\n<energy>\n{energies(run.energy + 0.1 ** (i + 1))}</energy>\n</scstep>\n" for i in range(run.steps)
    )
    nelm = run.incar["NELM"]
    parameters = (
        '<separator name="electronic">'
        + tag("NELECT", run.n_electrons)
        + tag("NELM", nelm, "int")
        + tag("NSW", run.incar["NSW"], "int")
        + tag("ISMEAR", run.incar["ISMEAR"], "int")
        + tag("ISPIN", run.incar["ISPIN"], "int")
        + tag("EDIFF", run.incar["EDIFF"])
        + tag("ENCUT", run.incar["ENCUT"])
        + tag("GGA", run.incar["GGA"], "string")
        + tag("LEPSILON", "F", "logical")
        + tag("LORBIT", "0", "int")
        + tag("IBRION", "-1", "int")
        + "</separator>\n"
    )
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n<generator>\n'
        + tag("program", "vasp", "string")
        + tag("version", "6.4.2", "string")
        + tag("subversion", "(emulation for tests)", "string")
        + tag("platform", "none", "string")
        + tag("date", "2026 01 01", "string")
        + tag("time", "00:00:00", "string")
        + f"</generator>\n<incar>\n{tags(run.incar)}</incar>\n"
        + f'<kpoints>\n<generation param="{run.style}">\n<v type="int" name="divisions">{grid}</v>\n'
        + '<v name="usershift">0.0 0.0 0.0</v>\n<v name="genvec1">1 0 0</v>\n<v name="genvec2">0 1 0</v>\n'
        + '<v name="genvec3">0 0 1</v>\n<v name="shift">0.0 0.0 0.0</v>\n</generation>\n'
        + varray("kpointlist", [[0, 0, 0]])
        + varray("weights", [[1]])
        + f"</kpoints>\n<parameters>\n{parameters}</parameters>\n"
        + atominfo(run)
        + structure(run, 'name="initialpos"')
        + f"<calculation>\n{steps}"
        + structure(run, "")
        + varray("forces", run.forces)
        + varray("stress", run.stress)
        + f"<energy>\n{energies(run.energy)}</energy>\n"
        + eigenvalues()
        + f"<dos>\n{tag('efermi', 0.0)}{density_of_states()}</dos>\n</calculation>\n"
        + structure(run, 'name="finalpos"')
        + "</modeling>\n"
    )


def outcar(run: Run) -> str:
    loop = f"     LOOP:  cpu time  {run.step_s:10.4f}: real time  {run.step_s:10.4f}\n"
    loops = loop * min(run.steps, 3)
    done = "------------------------ aborting loop because EDIFF is reached ----------------------------------------\n"
    reached = done if run.steps < int(run.incar["NELM"]) else ""
    return (
        f" vasp.6.4.2 (emulation for tests)\n running on {CORES:4d} total cores\n"
        f"   NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    NBANDS=      2\n"
        "   IBRION =     -1    ionic relax: 0-MD 1-quasi-New 2-CG\n"
        "   total plane-waves  NPLWV =  10000\n"
        f"   NELECT =  {run.n_electrons:12.4f}    total number of electrons\n"
        f"--------------------------------------- Iteration      1({run.steps:4d})  -------------------------------------\n"
        f"{loops}{reached}"
        f"  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n"
        f"  free  energy   TOTEN  = {run.energy:18.8f} eV\n"
        f"  energy  without entropy= {run.energy:18.8f}  energy(sigma->0) = {run.energy:18.8f}\n"
        f" E-fermi :   0.0000     XC(G=0):  -1.0000     alpha+bet : -1.0000\n"
        f"     LOOP+:  cpu time      1.0000: real time      1.0000\n"
        " General timing and accounting informations for this job:\n"
        " ========================================================\n"
        "                  Total CPU time used (sec):        2.000\n"
        "                            User time (sec):        1.500\n"
        "                          System time (sec):        0.500\n"
        "                         Elapsed time (sec):        2.500\n"
        "                   Maximum memory used (kb):       10000.\n"
        "                   Average memory used (kb):           0.\n"
    )


def oszicar(run: Run) -> str:
    lines = "".join(
        f"DAV: {i + 1:3d}    {run.energy:.8E}   0.1E-05   0.1E-05  10   0.1E-02\n" for i in range(run.steps)
    )
    head = "       N       E                     dE             d eps       ncg     rms          rms(c)\n"
    return f"{head}{lines}   1 F= {run.energy:.8E} E0= {run.energy:.8E}  d E =0.000000E+00\n"


if __name__ == "__main__":
    sys.exit(main())
