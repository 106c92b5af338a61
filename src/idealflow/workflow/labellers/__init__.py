"""What computes labels: ASE calculators, atomate2's static makers, VASP."""
