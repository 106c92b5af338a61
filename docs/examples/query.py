"""What a campaign can be asked; run after the tutorial."""

from idealflow import Campaign
from idealflow.analysis import calibrate
from idealflow.core import UncertaintyModel

campaign = Campaign.open("first")

# who asked for what, and when
print(campaign.table()[["step", "atom", "uncertainty", "shell_uncertainty", "n_atoms", "model_version"]].head())
for doc in campaign.substructures(species="Cu", uncertainty={"$gt": 60}):
    print(doc.request_key, f"uncertainty {doc.uncertainty:.0f}, label took {doc.seconds:.3f} s")

# one substructure's whole history
worst = max(campaign.substructures(state="accepted"), key=lambda doc: doc.uncertainty)
line = campaign.lineage(worst.uuid)
print(f"segment: steps {line.segment.first_step} to {line.segment.last_step}, {line.segment.reason}")
print(f"screen:  {line.screen.n_triggering} of {line.screen.n_atoms} atoms triggered")
print(f"crop:    {len(line.crop.candidates)} candidates")
print(f"relaxed: {line.relaxation.uncertainty_before:.2f} → {line.relaxation.uncertainty_after:.2f}")
print(f"label:   {line.substructure.energy:.3f} eV by {line.substructure.method}")
print(f"asked for by version {line.version_before}, learned by {line.version_after}, replayed in {line.replayed_in}")

# was the model wrong where it was uncertain?
table = campaign.calibration()
calibration = calibrate(table["ratio"], table["force_error"])
print(
    f"{calibration.n} labelled centres, rank correlation {calibration.rank_correlation}, {calibration.warning or 'no warning'}"
)

# the trajectory, the training set, and the models, for use elsewhere
for frame in campaign.trajectory():
    print(
        frame.info["step"], f"{frame.info['temperature']:.0f} K, fastest atom {abs(frame.get_velocities()).max():.3f}"
    )
dataset = campaign.dataset()
uncertainty = UncertaintyModel.load(campaign.fetch(campaign.state().learner.uncertainty))
atoms = dataset[-1].copy()
atoms.calc = campaign.model().calculator()
print(f"{len(dataset)} structures; the last: {atoms.get_potential_energy():.3f} eV by the model")
print(f"distribution over {uncertainty.n_samples} environments, {uncertainty.n_covered} covering")
