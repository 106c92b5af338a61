"""The operations on eight numbers: both forms equal numpy's sums, and whole descriptors do not depend on the form."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from idealflow.core import SOAP
from idealflow.core.descriptors import loops, simd, simd_splines, vectors
from idealflow.core.products import padded, row_products
from idealflow.core.structure import set_label
from idealflow.errors import InputError
from idealflow.forcefields import get_force_field

FORMS = pytest.mark.parametrize("form", [loops, simd], ids=["loops", "simd"])
PRECISION = {"float64": 1e-14, "float32": 1e-6}


def compiled(form, name, n_arguments):
    """An operation as a function: those of ``simd`` exist in compiled code alone."""
    operation = getattr(form, name)
    names = ", ".join(f"x{i}" for i in range(n_arguments))
    body = f"def call({names}):\n    operation({names})\n"
    scope = {"operation": operation}
    exec(body, scope)  # noqa: S102  # numba needs a signature of its own for every number of arguments
    return numba.njit(scope["call"])


@FORMS
@pytest.mark.parametrize("dtype", PRECISION)
def test_products(form, dtype):
    a, b, out = np.random.default_rng(0).normal(size=(3, 40)).astype(dtype)
    factor = a.dtype.type(1.7)
    expected = out.copy()
    expected[5:13] = factor * a[3:11] * b[20:28]
    compiled(form, "set_product", 7)(out, 5, factor, a, 3, b, 20)
    np.testing.assert_allclose(out, expected, rtol=PRECISION[dtype])
    expected[6:14] += factor * a[:8] * b[32:]
    compiled(form, "add_product", 7)(out, 6, factor, a, 0, b, 32)
    np.testing.assert_allclose(out, expected, rtol=10 * PRECISION[dtype], atol=PRECISION[dtype])


@FORMS
@pytest.mark.parametrize("dtype", PRECISION)
def test_products_of_blocks(form, dtype):
    rng = np.random.default_rng(1)
    f, g, out = (rng.normal(size=shape).astype(dtype) for shape in ((5, 20), (8, 24), (5, 16)))
    expected = out.copy()
    expected[:, 8:] += f[:, 2:10] @ g[:, 16:]
    compiled(form, "block_product", 10)(out.ravel(), 8, 16, f.ravel(), 2, 20, g.ravel(), 16, 24, 5)
    np.testing.assert_allclose(out, expected, atol=20 * PRECISION[dtype])
    out = np.full(64, np.nan, dtype=dtype)
    compiled(form, "gram", 8)(out, f.ravel(), 2, 20, g.ravel(), 16, 24, 5)
    np.testing.assert_allclose(out.reshape(8, 8), f[:, 2:10].T @ g[:5, 16:], atol=20 * PRECISION[dtype])
    later = np.full(72, np.nan, dtype=dtype)
    compiled(form, "gram_at", 9)(later, 8, f.ravel(), 2, 20, g.ravel(), 16, 24, 5)
    np.testing.assert_array_equal(later[8:], out)
    assert np.isnan(later[:8]).all()
    half = np.full(40, np.nan, dtype=dtype)
    compiled(form, "gram_half", 9)(half, 8, f.ravel(), 2, 20, g.ravel(), 16, 24, 5)
    np.testing.assert_array_equal(half[8:], out[:32])
    assert np.isnan(half[:8]).all()


@FORMS
@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("triangle", [0, 1])
def test_rows_of_a_packed_array(form, dtype, triangle):
    block, out = np.random.default_rng(2).normal(size=72).astype(dtype), np.zeros(60)
    square = block[:64].reshape(8, 8).astype(float)
    compiled(form, "set_scaled", 8)(out, 3, 5, triangle, 0.7, block, 0, 5)
    upper = np.triu_indices(5) if triangle else tuple(np.indices((5, 5)).reshape(2, -1))
    np.testing.assert_array_equal(out[3 : 3 + len(upper[0])], 0.7 * square[upper])


@FORMS
def test_transposition(form):
    a, out = np.random.default_rng(2).normal(size=(8, 20)), np.zeros(70)
    compiled(form, "transpose", 5)(out, 6, a.ravel(), 10, 20)
    np.testing.assert_array_equal(out[6:].reshape(8, 8), a[:, 10:18].T)


@pytest.mark.parametrize("form", [loops, simd_splines], ids=["loops", "simd"])
@pytest.mark.parametrize("dtype", PRECISION)
def test_splines(form, dtype):
    degree, width, t = vectors.SPLINE_DEGREE[dtype], 16, 0.3
    table = np.random.default_rng(3).normal(size=(degree + 1, width)).astype(dtype)
    flat, out = np.concatenate([np.zeros(4, dtype), table.ravel()]), np.zeros(20, dtype)
    compiled(form, "spline", 6)(out, 2, flat, 4, width, table.dtype.type(t))
    polynomial = np.polynomial.Polynomial
    expected = [polynomial(c)(t) for c in table.T.astype(float)]
    np.testing.assert_allclose(out[2:18], expected, atol=10 * PRECISION[dtype])
    if dtype == "float64":
        slopes = np.zeros(20)
        compiled(form, "spline_and_slope", 8)(out, 1, slopes, 3, flat, 4, width, t)
        np.testing.assert_allclose(out[1:17], expected, atol=1e-13)
        np.testing.assert_allclose(slopes[3:19], [polynomial(c).deriv()(t) for c in table.T], atol=1e-13)


def results() -> dict[str, np.ndarray]:
    """Descriptors and their gradients of four species, with radial functions of more than eight; a product of rows."""
    rng = np.random.default_rng(4)
    atoms = bulk("Cu", cubic=True).repeat((2, 2, 3))
    atoms.rattle(0.2, seed=5)
    atoms.symbols[:] = rng.choice(["Al", "Ni", "Cu", "Au"], len(atoms))
    found = {}
    for dtype, n_max, l_max, taper in (("float64", 8, 6, 0.0), ("float64", 9, 4, 0.5), ("float32", 6, 4, 0.0)):
        soap = SOAP(["Al", "Ni", "Cu", "Au"], 4.0, n_max, l_max, 0.5, dtype=dtype, taper=taper)
        weights = rng.normal(size=(len(atoms), soap.n_features))
        name = f"{dtype}, n_max {n_max}"
        found[name] = soap(atoms)
        pulled = soap.pull_back(atoms, None, lambda part, _, weights=weights: weights[part])
        found |= {f"{name}: positions": pulled[0], f"{name}: cell": pulled[1]}
    rows, matrix = rng.normal(size=(21, 11)), rng.normal(size=(11, 13))
    found["rows"] = row_products(rows, padded(matrix), 13)
    np.testing.assert_allclose(found["rows"], rows @ matrix, atol=1e-13)
    return found | learned(atoms)


def learned(atoms: Atoms) -> dict[str, np.ndarray]:
    """Forces of the built-in force field after two steps, whose energies are those of its model as operations on arrays."""
    force_field = get_force_field("local", species=["Al", "Ni", "Cu", "Au"], cutoff=4.0, n_radial=9, hidden=[16])
    known = set_label(
        atoms.copy(), energy=-3.5 * len(atoms), forces=np.random.default_rng(6).normal(size=(len(atoms), 3))
    )
    force_field.fit([known], steps=2, seed=1)
    moved = atoms.copy()
    moved.rattle(0.1, seed=7)
    energies = force_field.atomic_energies()(moved)
    moved.calc = force_field.calculator()
    np.testing.assert_allclose(moved.get_potential_energies(), energies, rtol=0, atol=1e-10)
    return {"learned in float32: forces": moved.get_forces()}


def test_descriptors_and_forces_do_not_depend_on_the_form(tmp_path: Path):
    file, form = tmp_path / "other.npz", str(int(not vectors.SIMD))
    subprocess.run([sys.executable, __file__, str(file)], check=True, env={**os.environ, "IDEALFLOW_SIMD": form})
    with np.load(file) as stored:
        assert bool(stored["simd"]) is not vectors.SIMD
        for name, expected in results().items():
            share = 1e-3 if name.startswith("learned") else 1e-6 if name.startswith("float32") else 1e-12
            allowed = share * np.abs(expected).max()
            np.testing.assert_allclose(stored[name], expected, rtol=0, atol=allowed, err_msg=name)


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [("Linux", "x86_64", True), ("Linux", "aarch64", False), ("Darwin", "x86_64", False), ("Darwin", "arm64", False)],
)
def test_the_platform_decides_unless_told_otherwise(system, machine, expected):
    assert vectors.takes_simd(system, machine) is expected
    assert vectors.takes_simd(system, machine, "0") is False
    assert vectors.takes_simd(system, machine, "1") is True


def test_another_override_is_refused():
    with pytest.raises(InputError, match=r"IDEALFLOW_SIMD must be 0 or 1, got 'yes'; unset it"):
        vectors.takes_simd("Linux", "x86_64", "yes")


if __name__ == "__main__":
    np.savez(sys.argv[1], simd=vectors.SIMD, **results())
