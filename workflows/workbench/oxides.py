"""What is measured of a chain of campaigns on alumina, beside what :mod:`workbench.melting` measures of any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from scipy.stats import rankdata

from idealflow.analysis import diffusion_coefficient, msd, rdf
from idealflow.core import SOAP, MixtureModel, UncertaintyModel
from idealflow.provenance import Campaign, CampaignChain
from idealflow.schemas import LearnerVersion
from idealflow.workflow.drivers.comparing import label_frames
from idealflow.workflow.labellers import reference_calculator
from idealflow.workflow.stages.evaluation import evenly
from workbench.melting import Rows, errors_on, hold, maker_of

CHARGES = {"Al": 3, "O": -2}  # formal ones
PAIRS = (("Al", "O"), ("Al", "Al"), ("O", "O"))
EXCESS = 3.0  # an atom whose force error is so many times the usual one is wrong


def opened(folder: Path) -> tuple[Campaign, LearnerVersion]:
    """A campaign and the last version that it learned; a script ends where there is none."""
    campaign = Campaign.open(folder)
    state = campaign.state()
    if state is None or state.learner is None:
        raise SystemExit(f"{folder} has no model yet; run the campaign first")
    return campaign, state.learner


def displacements(atoms: Atoms, first: Atoms) -> dict[str, float]:
    """Mean squared displacement of each element, Å², without the drift of the whole."""
    both = [first.positions, atoms.positions]
    return {symbol: float(msd(both, atoms=atoms.symbols == symbol, masses=atoms.get_masses())[1]) for symbol in CHARGES}


def cells(chain: CampaignChain) -> Rows:
    """The cells that were labelled on the way: when, their composition, and their charge by oxidation states, e."""
    rows: Rows = []
    for campaign in chain:
        for doc in campaign.substructures(state="accepted"):
            counts = {symbol: int((campaign.labelled(doc).symbols == symbol).sum()) for symbol in CHARGES}
            charge = sum(CHARGES[symbol] * n for symbol, n in counts.items())
            rows.append({"campaign": campaign.name, "step": doc.step, **counts, "charge": charge})
    return rows


def refusals(chain: CampaignChain) -> Rows:
    """How many requests of each campaign ended without a label, by cause."""
    rows: Rows = []
    for campaign in chain:
        causes: dict[str, int] = {}
        for doc in campaign.substructures(state="failed"):
            cause = str(doc.cause).split(";")[0]
            causes[cause] = causes.get(cause, 0) + 1
        rows += [{"campaign": campaign.name, "cause": cause, "n": n} for cause, n in causes.items()]
    return rows


def elsewhere(
    chain: CampaignChain, folder: Path, atoms: Atoms, temperature: float, steps: int, settle: int, n_frames: int
) -> Rows:
    """Errors on frames of the reference's own dynamics of a structure that no campaign has met.

    Of the chain's first model, the last one of each campaign, and so of the chain.
    """
    maker = maker_of(chain[-1])
    reference = reference_calculator(maker.label.labeller)
    frames = hold(reference, atoms, temperature, steps, folder / f"reference-{len(atoms)}")[settle:]
    labelled, failed = label_frames(maker.label, [frames[i] for i in evenly(n_frames, len(frames))], folder / "labels")
    models = {"first": chain.first_model()} | {campaign.name: campaign.model() for campaign in chain}
    about = {"frames": f"{atoms.get_chemical_formula()}", "n_atoms": len(atoms), "n_failed": len(failed)}
    return errors_on([each for each in labelled if each is not None], models, about)


def liquids(
    chain: CampaignChain, folder: Path, temperatures: Mapping[str, float], steps: int, settle: int
) -> dict[str, Rows]:
    """Partial radial distribution functions and diffusion by the last model and by the reference's own dynamics.

    Both runs start from the last frame of each campaign named in ``temperatures``, K. A particle's functions are those of its
    atoms in the volume that as many have in corundum.
    """
    curves: Rows = []
    runs: Rows = []
    crystal = chain[0].trajectory()[0]
    for campaign in chain:
        if campaign.name not in temperatures:
            continue
        start, temperature = campaign.trajectory()[-1], temperatures[campaign.name]
        calculators = {
            "last": chain.last_model().calculator(),
            "reference": reference_calculator(maker_of(campaign).label.labeller),
        }
        functions: dict[tuple[str, str], Any] = {}
        for name, calculator in calculators.items():
            files = folder / f"liquid-{campaign.name}-{name}"
            kept = hold(calculator, start, temperature, steps, files)[settle:]
            volume = None if start.pbc.all() else len(start) * crystal.get_volume() / len(crystal)
            for pair in PAIRS:
                functions[name, "-".join(pair)] = rdf(kept, r_max=7.0, n_bins=140, pair=pair, volume=volume)
            times = np.array([atoms.info["time"] for atoms in kept])
            row: dict[str, Any] = {"campaign": campaign.name, "by": name, "n_atoms": len(start), "n_frames": len(kept)}
            row["temperature"] = float(np.mean([atoms.info["temperature"] for atoms in kept]))
            row["energy"] = 1e3 * float(np.mean([atoms.info["energy"] for atoms in kept])) / len(start)
            for symbol in CHARGES:
                moved = msd(
                    [atoms.positions for atoms in kept],
                    origins="all",
                    atoms=start.symbols == symbol,
                    masses=start.get_masses(),
                )
                row[f"diffusion_{symbol}"] = diffusion_coefficient(times - times[0], moved)
            runs.append(row)
        for pair in map("-".join, PAIRS):
            right, own = functions["reference", pair], functions["last", pair]
            apart = float(np.abs(own.g - right.g)[right.r > 1.2].mean())
            for name in calculators:
                found = functions[name, pair]
                peak = int(found.g.argmax())
                about = {"campaign": campaign.name, "pair": pair, "by": name, "apart": apart}
                curves.append(
                    about
                    | {"peak_r": float(found.r[peak]), "peak_g": float(found.g[peak])}
                    | {"r": found.r.tolist(), "g": found.g.tolist()}
                )
    return {"partials": curves, "liquids": runs}


def detection(chain: CampaignChain, folder: Path, n_frames: int) -> Rows:
    """Do atoms that a model gets wrong stand out? One Gaussian and the mixture, fitted to what each model has learned.

    Frames of each campaign are met by the model that it began with, and by the one it ended with. An atom is wrong when its force
    error is over three times the mean one on what the model has learned; the area under the curve is of those by uncertainty.
    """
    rows: Rows = []
    known = [each for each in chain[0].dataset() if each.info["origin"] == "bootstrap"]
    for campaign in chain:
        maker = maker_of(campaign)
        frames = campaign.trajectory()
        labelled, _ = label_frames(maker.label, [frames[i] for i in evenly(n_frames, len(frames))], folder / "labels")
        met = [atoms for atoms in labelled if atoms is not None]
        soap = SOAP(sorted(CHARGES), **maker.bootstrap.soap)
        for when, model in (("beginning", campaign.model(0)), ("end", campaign.model())):
            if when == "end":
                known = known + campaign.dataset(bootstrap=False)
            usual = float(np.concatenate(_force_errors(model, known)).mean())
            errors = np.concatenate(_force_errors(model, met))
            wrong = errors > EXCESS * usual
            for name, kind in (("gaussian", UncertaintyModel), ("mixture", MixtureModel)):
                measure: Any = kind.fit(known, soap)
                ratios = np.concatenate([measure(atoms) for atoms in met]) / measure.auto_threshold()
                top = ratios >= np.quantile(ratios, 0.8)
                rows.append(
                    {
                        "campaign": campaign.name,
                        "when": when,
                        "measure": name,
                        "n_known": sum(map(len, known)),
                        "n_atoms": len(errors),
                        "usual": 1e3 * usual,
                        "wrong": float(wrong.mean()),
                        "auc": area(ratios, wrong),
                        "above": float((ratios > 1.0).mean()),
                        "wrong_above": float((ratios[wrong] > 1.0).mean()) if wrong.any() else None,
                        "top_fifth": 1e3 * float(errors[top].mean()),
                        "others": 1e3 * float(errors[~top].mean()),
                    }
                )
    return rows


def _force_errors(model: Any, frames: Sequence[Atoms]) -> list[Any]:
    """Length of the error of each atom's force, eV/Å, for each labelled frame."""
    calculator, found = model.calculator(), []
    for atoms in frames:
        moved = atoms.copy()
        moved.calc = calculator
        found.append(np.linalg.norm(moved.get_forces() - atoms.get_forces(), axis=1))
    return found


def area(scores: Any, bad: Any) -> float | None:
    """Area under the receiver operating characteristic; None where there is nothing to tell apart."""
    n = int(bad.sum())
    if n in (0, len(bad)):
        return None
    return float((rankdata(scores)[bad].sum() - n * (n + 1) / 2) / (n * (len(bad) - n)))
