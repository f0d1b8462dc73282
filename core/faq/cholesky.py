"""Cholesky: systems with a symmetric, positive definite matrix, in half of the memory that the matrix takes.

Such a matrix is given by its lower part, in panels: each holds a few rows, from the first column to the end of the
panel's square on the diagonal. A panel is factored in place as it comes, so the matrix need never be there as a whole,
and nothing else of its size is made. `np.linalg.solve` and `inv` compute with doubles on copies: 2.3 GB for 10,000 rows
where this takes 0.35. Knows arrays only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.linalg import LinAlgError

Matrix = npt.NDArray[np.float32]

PANEL = 512
"""Rows of a panel: enough for BLAS to work at full speed, and 3% of the largest matrix."""


@dataclass(frozen=True, slots=True)
class Factor:
    """L of A = L Lᵀ, in panels. In the place of each square on its diagonal stands the inverse of that square."""

    panels: Sequence[Matrix]

    def solve(self, given: Matrix) -> Matrix:
        """X of A X = `given`, written over `given`: shape (rows, any)."""
        for panel in self.panels:
            first, end = span(panel)
            given[first:end] = panel[:, first:] @ (given[first:end] - panel[:, :first] @ given[:first])
        for panel in reversed(self.panels):
            first, end = span(panel)
            given[first:end] = panel[:, first:].T @ given[first:end]
            given[:first] -= panel[:, :first].T @ given[first:end]
        return given

    def inverse(self) -> Inverse:
        """The inverse of A, written over this factor, which holds no more afterwards."""
        for i, panel in enumerate(self.panels):
            first, _ = span(panel)
            left = panel[:, first:] @ panel[:, :first]
            panel[:, :first] = 0
            for above in self.panels[:i]:
                start, end = span(above)
                panel[:, :end] -= left[:, start:end] @ above
        return Inverse(self.panels)


@dataclass(frozen=True, slots=True)
class Inverse:
    """The inverse of A = L Lᵀ as the panels of L⁻¹, from which any part of it follows."""

    panels: Sequence[Matrix]

    def corner(self, first: int, end: int) -> Matrix:
        """Its rows and columns from `first` to `end`."""
        found = np.zeros((end - first, end - first), dtype=np.float32)
        for panel in self.panels:
            part = panel[:, first:end]  # narrower, or empty, where the panel ends before: what follows is 0
            found[: part.shape[1], : part.shape[1]] += part.T @ part
        return found


def factored(panels: Iterable[Matrix]) -> Factor:
    """Factor the matrix of which these are the panels, written over them. Raises LinAlgError: not positive definite."""
    done: list[Matrix] = []
    for panel in panels:
        for above in done:
            start, end = span(above)
            block = panel[:, start:end]
            block -= panel[:, :start] @ above[:, :start].T
            block[:] = block @ above[:, start:].T
        first, _ = span(panel)
        square = panel[:, first:]
        square -= panel[:, :first] @ panel[:, :first].T
        root = np.linalg.cholesky(square)
        if not np.isfinite(root).all():  # LAPACK lets NaN pass
            raise LinAlgError("Matrix is not finite")
        square[:] = np.linalg.inv(root)
        done.append(panel)
    return Factor(done)


def span(panel: Matrix) -> tuple[int, int]:
    """The first row of a panel, and the one after its last."""
    rows, end = panel.shape
    return end - rows, end
