"""Systems solved in panels: what numpy gives for the whole matrix, with half of it in memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.linalg import LinAlgError

from core.faq.cholesky import Matrix, factored


def made(rows: int) -> Matrix:
    """A symmetric, positive definite matrix."""
    some = np.random.default_rng(rows).standard_normal((rows, 8)).astype(np.float32)
    return some @ some.T + np.eye(rows, dtype=np.float32)


def panels(matrix: Matrix, size: int) -> Iterator[Matrix]:
    for first in range(0, len(matrix), size):
        yield matrix[first : first + size, : first + size].copy()


@pytest.mark.parametrize(("rows", "size"), [(1, 4), (4, 4), (12, 4), (13, 4), (50, 7), (50, 1), (0, 4)])
def test_a_system_is_solved_and_its_matrix_inverted(rows: int, size: int) -> None:
    matrix = made(rows)
    targets = np.random.default_rng(1).standard_normal((rows, 3)).astype(np.float32)
    factor = factored(panels(matrix, size))
    given = targets.copy()
    assert factor.solve(given) is given
    np.testing.assert_allclose(given, np.linalg.solve(matrix, targets), atol=1e-4)
    whole, inverse = np.linalg.inv(matrix), factor.inverse()
    for first, end in ((0, rows), (rows // 3, rows // 2), (rows // 2, rows)):
        np.testing.assert_allclose(inverse.corner(first, end), whole[first:end, first:end], atol=1e-4)


@pytest.mark.parametrize("place", [0, 5, 11])
@pytest.mark.parametrize("value", [-1.0, 0.0, np.nan, np.inf])
def test_what_is_not_positive_definite_is_refused(place: int, value: float) -> None:
    matrix = np.eye(12, dtype=np.float32)
    matrix[place, place] = value
    with pytest.raises(LinAlgError):
        factored(panels(matrix, 4))


def test_half_of_the_matrix_is_in_memory() -> None:
    rows, size = 1_024, 32
    ones = np.eye(rows, dtype=np.float32)
    tracemalloc.start()
    try:
        factor = factored(panels(ones, size))
        factor.solve(np.zeros((rows, 1), dtype=np.float32))
        factor.inverse().corner(0, size)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.65 * ones.nbytes
