"""A campaign as a jobflow Flow, run in this process."""

from ase.build import bulk
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from idealflow import AseLabeller, BootstrapMaker, Campaign, IdealMaker, LabelMaker, MDSegmentMaker

frame = bulk("Cu", a=3.65, cubic=True) * (4, 4, 4)
del frame[100]

maker = IdealMaker(
    campaign="from-python",
    bootstrap=BootstrapMaker(
        seeds=[{"element": "Cu", "a": 3.62, "cubic": True, "repeat": [2, 2, 2]}],
        n_structures=12,
        rattle=(0.02, 0.1),
        fit_steps=100,
    ),
    segment=MDSegmentMaker(
        schedule=[{"kind": "hold", "temperature": 300.0, "steps": 10}],
        sampler={"name": "langevin", "timestep": 2.0},
    ),
    label=LabelMaker(AseLabeller("ase.calculators.emt.EMT", reference="EMT (stands in for DFT)")),
    max_rounds=5,
)
store = JobStore(MemoryStore())
run_locally(maker.make(frame), store=store, ensure_success=True)

campaign = Campaign(store, "from-python")
print(campaign.state().status, "-", campaign.state().reason)
print(campaign.table()[["step", "atom", "uncertainty", "n_atoms", "energy"]])
