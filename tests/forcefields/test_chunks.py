"""Eight pairs at a time: both forms equal formulas written with numpy, and the exponential numpy's."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from numba import types
from numba.extending import intrinsic

from idealflow.core.descriptors.vector_code import Eight, Memory, constant
from idealflow.forcefields.local import loop_pairs, simd_pairs
from idealflow.forcefields.local.kernels import N_LM, harmonics, harmonics_slope, radial_functions

FORMS = pytest.mark.parametrize("form", [loop_pairs, simd_pairs], ids=["loops", "simd"])
CUTOFF, WIDTH, CHUNKS = 4.0, 16, 3
STRIDE = (4 + N_LM + 3 * WIDTH) * 8


def compiled(form, name, n_arguments):
    """An operation as a function: those of ``simd_pairs`` exist in compiled code alone."""
    names = ", ".join(f"x{i}" for i in range(n_arguments))
    scope = {"operation": getattr(form, name)}
    exec(f"def call({names}):\n    operation({names})\n", scope)  # noqa: S102  # numba needs a signature for every number of arguments
    return numba.njit(scope["call"])


def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Directions (n, 3) and distances (n,) of 24 pairs, one of them at the cutoff."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(8 * CHUNKS, 3))
    lengths = rng.uniform(0.5, CUTOFF, len(vectors))
    lengths[-1] = CUTOFF
    return vectors / np.linalg.norm(vectors, axis=1)[:, None], lengths


def expected_functions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Harmonics (n, 16), radial functions and their slopes (n, width) of the pairs."""
    units, lengths = pairs()
    y = np.empty((len(units), N_LM))
    value, slope = np.empty((2, len(units), WIDTH))
    for q, (unit, length) in enumerate(zip(units, lengths, strict=True)):
        harmonics(*unit, y[q])
        radial_functions(length, CUTOFF, WIDTH, value[q], slope[q])
    return y, value, slope


def records(form) -> np.ndarray:
    """Records of the pairs' chunks, filled by ``form``."""
    units, lengths = pairs()
    flat = np.full(CHUNKS * STRIDE, np.nan)
    fill = compiled(form, "chunk_functions", 4)
    for chunk in range(CHUNKS):
        mine = slice(8 * chunk, 8 * chunk + 8)
        start = chunk * STRIDE
        flat[start : start + 24] = (units[mine] * lengths[mine, None]).T.ravel()
        flat[start + 24 : start + 32] = lengths[mine] ** 2
        fill(flat, start, WIDTH, CUTOFF)
    return flat


@FORMS
def test_functions_of_pairs(form):
    units, lengths = pairs()
    y, value, slope = expected_functions()
    rows = records(form).reshape(CHUNKS, -1, 8)

    def of_pairs(first: int, count: int) -> np.ndarray:
        return rows[:, first : first + count].transpose(0, 2, 1).reshape(8 * CHUNKS, count)

    for found, expected in (
        (of_pairs(0, 3), units),
        (of_pairs(3, 1)[:, 0], lengths),
        (of_pairs(4, N_LM), y),
        (of_pairs(4 + N_LM, WIDTH), value),
        (of_pairs(4 + N_LM + WIDTH, WIDTH), slope),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-12)
    assert of_pairs(4 + N_LM, WIDTH)[-1].tolist() == [0.0] * WIDTH  # at the cutoff
    again = rows[:, 4 + N_LM + 2 * WIDTH :].reshape(CHUNKS, WIDTH // 8, 8, 8)  # chunk, eight functions, pair, function
    np.testing.assert_array_equal(again.transpose(0, 2, 1, 3).reshape(-1, WIDTH), of_pairs(4 + N_LM, WIDTH))


@FORMS
def test_densities(form):
    y, value, _ = expected_functions()
    flat, out, density = records(form), np.full(64, np.nan), compiled(form, "chunk_density", 8)
    for half in range(2):
        for n in range(WIDTH // 8):
            density(out, flat, STRIDE, STRIDE, CHUNKS - 1, half, n, WIDTH)
            expected = y[8:, 8 * half : 8 * half + 8].T @ value[8:, 8 * n : 8 * n + 8]
            np.testing.assert_allclose(out.reshape(8, 8), expected, atol=1e-12)


@FORMS
def test_slopes_of_pairs_and_their_virial(form):
    units, lengths = pairs()
    y, value, slope = expected_functions()
    rng = np.random.default_rng(1)
    weight, more = rng.normal(size=(N_LM, 24)), rng.normal(size=8)  # those of another species come first
    pulled, found = np.full((18, 8), np.nan), np.zeros((9, 8))
    found[3:] = 1.0
    pulled[0] = more
    flat, start = records(form), STRIDE
    compiled(form, "chunk_pull", 7)(pulled.ravel(), weight, 8, 24, flat, start, WIDTH)
    compiled(form, "chunk_slopes", 4)(found.ravel(), flat, start, pulled.ravel())
    for lane, q in enumerate(range(8, 16)):
        g, along = value[q] @ weight[:, 8:].T, y[q] @ weight[:, 8:] @ slope[q]
        np.testing.assert_allclose(pulled[1:, lane], [along, *g], atol=1e-11)
        x, r = units[q], lengths[q]
        turning = np.array(harmonics_slope(*x, g))
        expected = turning / r + (along + more[lane] - turning @ x / r) * x
        np.testing.assert_allclose(found[:3, lane], expected, atol=1e-11)
        virial = r * np.outer(x, expected)
        upper = virial[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
        np.testing.assert_allclose(found[3:, lane], 1.0 + upper, atol=1e-11)


@FORMS
def test_activation(form):
    z = np.concatenate([np.linspace(-40.0, 40.0, 33), [-800.0, 800.0, 0.0]])
    for place in range(0, len(z) - 7, 7):
        layer, slope, bias = np.full(10, np.nan), np.full(10, np.nan), 0.3
        compiled(form, "activate", 6)(layer, slope, 2, z, place, bias)
        x = z[place : place + 8] + bias
        with np.errstate(over="ignore"):
            sigmoid = 1.0 / (1.0 + np.exp(-x))
        np.testing.assert_allclose(layer[2:], x * sigmoid, rtol=1e-14, atol=1e-300)
        np.testing.assert_allclose(slope[2:], sigmoid * (1.0 + x * (1.0 - sigmoid)), rtol=1e-12, atol=1e-300)
        assert np.isnan(layer[:2]).all()


@intrinsic
def _exp(_context, out, values):
    def generate(context, builder, signature, args):
        target, source = (Memory(context, builder, signature.args[k], args[k], constant(0)) for k in range(2))
        target.store(Eight(builder, source.load(constant(0))).exp().value, constant(0))
        return context.get_dummy_value()

    return types.void(out, values), generate


@numba.njit
def _powers(out, values):
    for start in range(0, len(values), 8):
        _exp(out[start:], values[start:])


def test_the_exponential_is_numpys_to_two_last_bits():
    rng = np.random.default_rng(2)
    values = np.concatenate(
        [rng.uniform(-708, 708, 4000), rng.normal(size=4000), [0.0, -0.0, 708.0, -708.0, 1.0, -1.0, 1e-300, 0.5]]
    )
    out = np.empty_like(values)
    _powers(out, values)
    np.testing.assert_allclose(out, np.exp(values), rtol=5e-16)
    assert out[8000] == out[8001] == 1.0
    _powers(out[:8], np.array([np.inf, -np.inf, 1e4, -1e4, 709.0, -709.0, 0.0, 0.0]))
    np.testing.assert_allclose(out[:6], np.exp([708.0, -708.0] * 3), rtol=5e-16)
