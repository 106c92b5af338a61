"""The paper's systems with VASP for the stand-ins: their configs, and VASP's inputs, checked as far as that needs no VASP.

    python workflows/checks/vasp_inputs.py FOLDER [--out workflows/checks/results/vasp_inputs.json]

Each config of the paper's size in `workflows/*/paper` is written into FOLDER with VASP as labeller, and `idealflow check`
looks at it: the frame is built, cells are cut out of it, and the files that VASP would be given are written for them, with a
small structure as well. A campaign of a chain is looked at as if it began with a small crystal or particle. On a cluster,
VASP 6 itself looks at them by `vasp_std --dry-run` in each of the folders.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml
from ase.io import read
from pymatgen.io.vasp import Incar, Kpoints

from idealflow.workflow.check import check_config
from workbench.keeping import add_out, keep
from workbench.threads import one_thread

WORKFLOWS = Path(__file__).resolve().parents[1]
#: kind of VASP's settings for each folder of workflows
KINDS = {"li_melting": "metal", "li_polycrystal": "metal", "al2o3": "oxide", "haber_bosch": "reactive"}
#: what is small in a campaign's first set where its config has none: it begins with another campaign or a dataset
SEEDS = {
    "li_melting": {"element": "Li", "crystal": "bcc", "a": 3.506, "cubic": True},
    "li_polycrystal": {"element": "Li", "crystal": "bcc", "a": 3.506, "cubic": True},
    "al2o3": {"element": "Al2O3", "crystal": "corundum", "a": 4.682, "c": 13.110},
    "haber_bosch": {
        "builder": "gas_around",
        "molecules": {"N2": 2, "H2": 2},
        "atoms": {
            "builder": "particle",
            "element": "Ir",
            "shape": "octahedron",
            "length": 4,
            "cut": 1,
            "a": 3.88,
            "box": 16.0,
        },
    },
}
CORES = 32  # of a label


def with_vasp(settings: dict[str, Any], system: str) -> dict[str, Any]:
    """The config with VASP as labeller, whole frames unlabelled, and without what has to be there before."""
    kind = KINDS[system]
    labeller = {"maker": "idealflow.vasp_static", "kwargs": {"kind": kind}, "reference": "VASP PBE", "cores": CORES}
    alone = {
        name: value for name, value in settings.get("bootstrap", {}).items() if name not in ("campaign", "dataset")
    }
    alone.setdefault("seeds", [SEEDS[system]])
    return settings | {"bootstrap": alone, "label": {"labeller": labeller}, "evaluation": {"n_frames": 0}}


def looked_at(config: Path, inputs: Path) -> list[dict[str, Any]]:
    """Check a config, and tell what was written: a row for each structure.

    Raises
    ------
    SystemExit
        If anything is wrong with the config or the inputs.
    """
    findings = check_config(config, inputs=inputs)
    if findings.faults.found:
        raise SystemExit(f"{config}: {'; '.join(map(str, findings.faults.found))}")
    rows = []
    for folder in sorted(inputs.iterdir()):
        cell, tags = read(folder / "POSCAR"), Incar.from_file(folder / "INCAR")
        rows.append(
            {
                "structure": folder.name,
                "n_atoms": len(cell),
                "formula": cell.get_chemical_formula(),
                "k_points": Kpoints.from_file(folder / "KPOINTS").kpts[0],
                "spin": tags.get("ISPIN", 1) == 2,
                "smearing": [tags["ISMEAR"], tags["SIGMA"]],
                "potcar": (folder / "POTCAR.spec").read_text().split(),
            }
        )
    return rows


def main() -> None:
    """Write, look and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="gets configs and inputs; it must not exist")
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    arguments.folder.mkdir(parents=True)
    inputs: list[dict[str, Any]] = []
    for system, kind in KINDS.items():
        for config in sorted((WORKFLOWS / system / "paper").glob("*.yaml")):
            changed = arguments.folder / system / config.name
            changed.parent.mkdir(exist_ok=True)
            changed.write_text(yaml.safe_dump(with_vasp(yaml.safe_load(config.read_text()), system), sort_keys=False))
            found = looked_at(changed, changed.with_suffix(""))
            print(changed, *(f"{row['formula']} {row['k_points']}" for row in found), flush=True)
            inputs += [{"system": system, "campaign": config.stem, "kind": kind, **row} for row in found]
    keep(arguments.out, inputs=inputs)


if __name__ == "__main__":
    main()
