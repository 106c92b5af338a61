"""Few environments: from how many on something new is seen, and what is known left alone.

    python workflows/checks/few_samples.py [--out workflows/checks/results/few_samples.json]

Distributions of few environments of one species: narrow ones (volumes of a perfect crystal) and thermal ones (rattled cells).
Printed, over the automatic threshold: the least uncertainty of what is not in them (neighbours of a vacancy, hcp, bcc, a
crystal rattled by 0.1 Å); for thermal data the share of held-out environments above the threshold, and the median uncertainty of
a vacancy's neighbours and of hcp, rattled alike. The last table is of an alloy with one silver atom in 32.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk

from idealflow.core import SOAP, UncertaintyModel
from workbench.crystals import rattled
from workbench.keeping import add_out, keep
from workbench.threads import one_thread

LATTICE = {"Cu": 3.61, "Pd": 3.89, "Ag": 4.085}
SEEDS = 6


def crystal(element: str, repeat: int = 3, volume: float = 1.0) -> Atoms:
    return bulk(element, "fcc", a=LATTICE[element] * volume ** (1 / 3), cubic=True).repeat(repeat)


def others(element: str, by: float) -> dict[str, tuple[Atoms, np.ndarray]]:
    """What a crystal's environments do not hold, and which atoms of it count."""
    a = LATTICE[element]
    vacancy = crystal(element)
    distances = vacancy.get_distances(50, range(len(vacancy)), mic=True)
    near = np.flatnonzero((distances > 0.1) & (distances < 0.8 * a))
    del vacancy[50]
    hcp = bulk(element, "hcp", a=a / np.sqrt(2), c=a / np.sqrt(2) * np.sqrt(8 / 3)).repeat((3, 3, 2))
    bcc = bulk(element, "bcc", a=a / 2 ** (1 / 3), cubic=True).repeat(3)
    found = {"vacancy": (vacancy, near - (near > 50))}
    found |= {name: (atoms, np.arange(len(atoms))) for name, atoms in (("hcp", hcp), ("bcc", bcc))}
    return {name: (rattled(atoms, by, 5), chosen) for name, (atoms, chosen) in found.items()}


def narrow(element: str, soap: SOAP) -> list[dict[str, Any]]:
    """Rows of the table of volumes."""
    new = others(element, 0.0) | {"rattled": (rattled(crystal(element), 0.1, 3), np.arange(108))}
    print(
        f"\n{element}: volumes of a perfect crystal, ±6 %; least u/τ\n     n       τ "
        + "".join(f"{n:>10s}" for n in new)
    )
    rows = []
    for n in (3, 7, 11, 20, 60, 200):
        cells = [crystal(element, 1, volume) for volume in np.linspace(0.94, 1.06, n)]
        model = UncertaintyModel.fit(cells, soap, masks=[np.arange(4) < 1] * n)
        threshold = model.auto_threshold()
        least = [float(model(atoms, chosen).min()) / threshold for atoms, chosen in new.values()]
        print(f"{n:6d} {threshold:7.1f} " + "".join(f"{value:10.3g}" for value in least), flush=True)
        rows.append({"element": element, "n": n, "threshold": threshold, **dict(zip(new, least, strict=True))})
    return rows


def thermal(element: str, soap: SOAP, by: float) -> list[dict[str, Any]]:
    """Rows of the table of rattled cells."""
    new, held_out = others(element, by), [rattled(crystal(element), by, [99, number]) for number in range(5)]
    print(f"\n{element}: rattled by {by} Å; means over {SEEDS} sets, median u/τ")
    print("     n       τ  held out above τ, %: mean  most" + "".join(f"{n:>10s}" for n in new))
    rows = []
    for n in (7, 10, 15, 20, 30, 60, 100, 200, 400):
        sets = []
        for seed in range(SEEDS):
            frames = [rattled(crystal(element), by, [seed, number]) for number in range(-(-n // 108))]
            masks = [np.arange(108) < n - 108 * number for number in range(len(frames))]
            model = UncertaintyModel.fit(frames, soap, masks=masks)
            threshold = model.auto_threshold()
            above = 100 * float(np.mean([model(atoms) > threshold for atoms in held_out]))
            seen = [float(np.median(model(atoms, chosen))) / threshold for atoms, chosen in new.values()]
            sets.append([threshold, above, *seen])
        table = np.array(sets)
        medians = np.median(table[:, 2:], axis=0)
        print(
            f"{n:6d} {table[:, 0].mean():7.1f} {table[:, 1].mean():26.2f} {table[:, 1].max():5.1f}"
            + "".join(f"{value:10.3g}" for value in medians),
            flush=True,
        )
        shares = {"above": table[:, 1].mean(), "most_above": table[:, 1].max()}
        of_set = {"element": element, "rattled_by": by, "n": n, "threshold": table[:, 0].mean()}
        rows.append(of_set | shares | dict(zip(new, medians, strict=True)))
    return rows


def minority(by: float) -> list[dict[str, Any]]:
    """Rows of one silver atom among 31 of copper; a pair of them, and one that is displaced by a normal deviate of 0.25 Å."""
    soap = SOAP(["Cu", "Ag"], r_cut=4.0, n_max=6, l_max=6, sigma=0.4)
    print(f"\none Ag in 31 Cu, rattled by {by} Å; u/τ")
    print("     n       τ   Ag–Ag pair, least   displaced Ag, median   held-out Ag above τ, %")

    def alloy(seed: object, silver: list[int]) -> Atoms:
        atoms = crystal("Cu", 2)
        atoms.symbols[silver] = "Ag"
        return rattled(atoms, by, seed)

    near = int(np.argsort(crystal("Cu", 2).get_distances(0, range(32), mic=True))[1])
    rows = []
    for n in (3, 7, 10, 20, 30, 60, 120):
        model = UncertaintyModel.fit([alloy([1, seed], [0]) for seed in range(n)], soap)
        threshold = model.auto_threshold()
        pair = min(float(model(alloy([2, seed], [0, near]), [0, near]).min()) for seed in range(4))
        held_out = [float(model(alloy([3, seed], [0]), [0])[0]) for seed in range(40)]
        displaced = []
        for seed in range(20):
            atoms = alloy([4, seed], [0])
            atoms.positions[0] += np.random.default_rng(seed).normal(scale=0.25, size=3)
            displaced.append(float(model(atoms, [0])[0]))
        above = 100 * float(np.mean(np.array(held_out) > threshold))
        print(
            f"{n:6d} {threshold:7.1f} {pair / threshold:19.3g} {np.median(displaced) / threshold:22.3g} {above:26.1f}",
            flush=True,
        )
        seen = {"pair": pair / threshold, "displaced": np.median(displaced) / threshold}
        rows.append({"rattled_by": by, "n": n, "threshold": threshold, "above": above, **seen})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Few environments: what is seen as new.")
    parser.add_argument("--elements", nargs="+", default=["Pd"])
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    volumes, rattlings = [], []
    for element in arguments.elements:
        soap = SOAP([element], r_cut=4.0, n_max=6, l_max=6, sigma=0.4)
        volumes += narrow(element, soap)
        for by in (0.06, 0.12):
            rattlings += thermal(element, soap, by)
    alloys = [row for by in (0.08, 0.1) for row in minority(by)]
    keep(arguments.out, volumes=volumes, rattled=rattlings, minority=alloys)


if __name__ == "__main__":
    main()
