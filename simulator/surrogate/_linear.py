"""Lower roots of covariances and what is solved with them, by scipy; it is imported when the first one is needed, so
that a forecast from a law alone starts without it.
"""

from __future__ import annotations

import numpy as np


def lower_root(covariance: np.ndarray) -> np.ndarray:
    """L with L·Lᵀ = covariance, `(n, n)`, in its place. LinAlgError where there is none."""
    from scipy.linalg import cholesky

    return cholesky(covariance, lower=True, overwrite_a=True)


def solve(root: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(L·Lᵀ)⁻¹·right, `(n, m)` or `(n,)`."""
    from scipy.linalg import cho_solve

    return cho_solve((root, True), right)


def whiten(root: np.ndarray, right: np.ndarray) -> np.ndarray:
    """L⁻¹·right, `(n, m)`."""
    from scipy.linalg import solve_triangular

    return solve_triangular(root, right, lower=True)


def inverse_root(root: np.ndarray) -> np.ndarray:
    """L⁻¹, `(n, n)`."""
    from scipy.linalg import get_lapack_funcs

    (trtri,) = get_lapack_funcs(("trtri",), (root,))
    return trtri(root, lower=1)[0]


def any_root(covariance: np.ndarray) -> np.ndarray | None:
    """`lower_root` of a symmetric array that is not needed any more, with zeros above; None where there is none."""
    from scipy.linalg import get_lapack_funcs

    (potrf,) = get_lapack_funcs(("potrf",), (covariance,))
    root, failed = potrf(covariance.T, lower=1, clean=1, overwrite_a=1)
    return None if failed else root


def half_inverse(root: np.ndarray) -> np.ndarray:
    """The lower half of (L·Lᵀ)⁻¹ with its diagonal, zeros above, `(n, n)`, in the place of L."""
    from scipy.linalg import get_lapack_funcs

    (potri,) = get_lapack_funcs(("potri",), (root,))
    return potri(root, lower=1, overwrite_c=1)[0]
