"""Three stages of the method as jobs, without a campaign: search a cell around an atom, relax it, label it."""

from ase.build import bulk
from jobflow import run_locally

from idealflow import AseLabeller, CropSearchMaker, LabelMaker, UncertaintyRelaxMaker
from idealflow.core import SOAP, UncertaintyModel

known = bulk("Cu", cubic=True) * 3
known.rattle(0.1, seed=1)
u = UncertaintyModel.fit([known], SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
frame = bulk("Cu", cubic=True) * 4
del frame[100]

search = CropSearchMaker(n_candidates=5, max_atoms=150).make(frame, 99, u)  # 99: an atom beside the vacancy
relax = UncertaintyRelaxMaker(max_steps=10).make(search.output, u)
labeller = AseLabeller("ase.calculators.emt.EMT", reference="EMT (stands in for DFT)")
label = LabelMaker(labeller).make(relax.output.structure)

done = run_locally([search, relax, label], log=False, ensure_success=True)
relaxed, labelled = done[relax.uuid][1].output, done[label.uuid][1].output
print(f"{len(frame)} atoms -> {labelled.n_atoms}, uncertainty of the shell {relaxed.uncertainty_after:.2f}")
print(f"{labelled.energy:.2f} eV by {labelled.method}")
