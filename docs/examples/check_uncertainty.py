"""The uncertainty of my_measure.py, proven and put to work."""

from ase.build import bulk
from my_measure import Distance

from idealflow.core import SOAP, FirstEnvironments, ForceFieldFit, crop_search, relax_shell, screen
from idealflow.testing import check_uncertainty


def copper(repeat, seed):
    """A warm crystal."""
    atoms = bulk("Cu", cubic=True) * repeat
    atoms.rattle(0.06, seed=seed)
    return atoms


soap = SOAP(["Cu"], r_cut=3.5, n_max=4, l_max=4, sigma=0.3)
u = Distance.begin(FirstEnvironments([copper(2, seed) for seed in range(6)], soap), ForceFieldFit())
print(check_uncertainty(u, [copper(2, 10)]))

frame = copper(5, 11)
del frame[250]  # a vacancy
(centre,) = screen(u, frame, threshold=3.0, max_centres=1)
crops = crop_search(u, frame, centre, n_candidates=10, max_atoms=200)
ides = relax_shell(u, crops[0], max_steps=30)
print(f"shell of {len(ides.atoms)} atoms: {ides.uncertainty_before:.2f} -> {ides.uncertainty_after:.2f}")
