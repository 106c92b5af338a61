"""The VASP inputs that my_labels.py leads to; needs no pseudopotentials."""

from ase.build import bulk
from my_labels import lithium
from pymatgen.io.ase import AseAtomsAdaptor

generator = lithium().input_set_generator
for n in (2, 4):
    structure = AseAtomsAdaptor.get_structure(bulk("Li", a=3.44, cubic=True) * (n, n, n))
    files = generator.get_input_set(structure, potcar_spec=True)
    print(len(structure), "atoms, k points", files["KPOINTS"].kpts[0])
print(files["INCAR"])
