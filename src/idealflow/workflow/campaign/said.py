"""What a campaign does with its input that a user may not expect, said once at its start and kept with it."""

from __future__ import annotations

from ase import Atoms

from idealflow.workflow.campaign.checks import guessed_charges, labels_whole
from idealflow.workflow.campaign.settings import CampaignSettings
from idealflow.workflow.frames.build import build_structure, repeats_to
from idealflow.workflow.jobs.progress import note

__all__ = ["say_what_is_done"]


def say_what_is_done(maker: CampaignSettings, atoms: Atoms) -> None:
    """Note that seeds are repeated to ``bootstrap.min_atoms``, and that cells may lose the frame's surface.

    Parameters
    ----------
    maker
        The campaign, checked.
    atoms
        The frame at step 0.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, BootstrapMaker, IdealMaker, LabelMaker
    >>> from idealflow.workflow.jobs.progress import noted
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> seed = {"element": "Cu", "crystal": "fcc", "a": 3.62, "cubic": True, "repeat": [3, 3, 3]}
    >>> maker = IdealMaker(label=label, bootstrap=BootstrapMaker(seeds=[seed], min_atoms=110))
    >>> with noted() as notes:
    ...     say_what_is_done(maker, bulk("Cu", cubic=True) * 6)
    >>> notes
    ['bootstrap: the seed of 108 atoms is repeated to 216, the first doubling that has bootstrap.min_atoms = 110']
    """
    bootstrap = maker.bootstrap
    if bootstrap.source == "structures":
        for seed in [build_structure(entry) for entry in bootstrap.seeds] if bootstrap.seeds else [atoms]:
            repeated = len(seed) * repeats_to(seed, bootstrap.min_atoms)
            if repeated > len(seed):
                note(
                    "structure",
                    f"bootstrap: the seed of {len(seed)} atoms is repeated to {repeated}, the first doubling that has "
                    f"bootstrap.min_atoms = {bootstrap.min_atoms}",
                )
    if charges := guessed_charges(maker, atoms):
        shown = ", ".join(f"{symbol} {charge:+g}" for symbol, charge in charges.items())
        note(
            "structure",
            f"crop: cells are made neutral, with oxidation states guessed from the composition ({shown}); "
            "crop.oxidation_states gives others, {} lets cells be charged",
        )
    if maker.crop.waive_surface_rule and maker.learn and not labels_whole(maker, atoms):
        note(
            "structure",
            "crop.waive_surface_rule: where no cell keeps the empty space that a centre looks into, one without it is labelled "
            "(`surface_rule_waived` in its notes)",
        )
