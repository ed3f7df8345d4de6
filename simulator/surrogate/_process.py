"""A Gaussian process on the residual of a law, jointly with the law's linearised parameters.

Log loss is modelled as  y = ℓ(θ̂) + J·(θ - θ̂) + f(x) + ε  with θ ~ N(μ, S) the law's prior, J the law's gradient at
its fit θ̂ (its tangent), f a Matérn process and ε noise whose variance may depend on the run. Integrating over θ gives a
process with covariance J·S·Jᵀ + k: the law and the residual are learned together, the posterior uncertainty of θ is
included, and leave-one-out predictions, law included, come in closed form (Rasmussen & Williams 2006, eq. 5.12). With
S = 0 the law is held at its fit and only the residual is learned.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from ._kernel import Block, Hyper, matern, noise_variance, scaled, squared_distances
from ._linear import any_root, half_inverse, inverse_root, lower_root, solve, whiten

TAIL = 4.0  # degrees of freedom of Student's t, by which outliers are downweighted
_ROUNDS = 2  # times that the runs are weighed anew by how far off they are
_JITTER = 1e-8
_OFFSET = np.log(0.01)  # prior centre of a log offset
_SPREADS = {"signal": 2.0, "length": 1.0, "offset": 1.0, "noise": 2.0, "run_noise": 2.0}
_FAILED = 1e12


@dataclass(frozen=True)
class Inputs:
    """What a process sees of runs: `x: (n, d)` features, shares first; `run_noise: (n, c)` what makes them noisy;
    `tangent: (n, P)`, J·S^½ over the unit of the residual."""

    x: np.ndarray
    run_noise: np.ndarray
    tangent: np.ndarray

    def take(self, rows: np.ndarray) -> Inputs:
        """The runs at `rows`."""
        return Inputs(*(getattr(self, item.name)[rows] for item in fields(self)))


@dataclass(frozen=True)
class Process:
    """A process conditioned on n runs. Everything is in units of `unit`, the residual's scale in log loss.

    `z: (n,)` is what is to be explained; `trust: (n,)` divides a run's noise.
    """

    hyper: Hyper
    unit: float
    inputs: Inputs
    z: np.ndarray
    trust: np.ndarray

    @cached_property
    def _factor(self) -> np.ndarray:
        """Lower Cholesky factor of k + noise, the covariance of z that the law has no part in, `(n, n)`."""
        covariance = self._kernel(self.inputs.x, self._scaled)
        covariance.flat[:: len(self.z) + 1] += noise_variance(self.inputs.run_noise, self.hyper) / self.trust + _JITTER
        return lower_root(covariance)

    @cached_property
    def _scaled(self) -> np.ndarray:
        return scaled(self.inputs.x, self.hyper)

    @cached_property
    def _law(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the runs say of the law (eq. 2.42 there): (k + noise)⁻¹·T `(n, P)`, a lower root of the precision of u
        `(P, P)`, and the mean of u `(P,)`.

        The law's share of the variance is a thousand times the residual's, so a sum of both would drown the latter.
        """
        tangent = self.inputs.tangent
        white = whiten(self._factor, tangent)
        root = np.asarray(np.linalg.qr(np.vstack([white, np.eye(tangent.shape[1])]), mode="r")).T
        solved = solve(self._factor, tangent)
        return solved, root, solve(root, solved.T @ self.z)

    @cached_property
    def _weights(self) -> np.ndarray:
        """K⁻¹·z with K the covariance of z, `(n,)`."""
        return solve(self._factor, self.z - self.inputs.tangent @ self._law[2])

    @cached_property
    def _whitening(self) -> np.ndarray:
        """L⁻¹ in single precision, `(n, n)`: variances need three digits, and half the bytes are twice the speed."""
        return inverse_root(self._factor).astype(np.float32)

    def _kernel(self, new: np.ndarray, others_scaled: np.ndarray) -> np.ndarray:
        kernel = matern(squared_distances(scaled(new, self.hyper), others_scaled))
        kernel *= np.exp(self.hyper.signal)
        return kernel

    def _open_law(self, new: Inputs, kernel: np.ndarray) -> np.ndarray:
        """Columns whose inner products are the covariance that the open law leaves between runs, `(P, m)`."""
        solved, root, _ = self._law
        return whiten(root, (new.tangent - kernel @ solved).T)

    def predict(self, new: Inputs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean, variance of the noise-free value, and variance of the noise of new runs, each `(m,)`, in log loss."""
        kernel = self._kernel(new.x, self._scaled)
        mean = kernel @ self._weights + new.tangent @ self._law[2]
        known = kernel.astype(np.float32) @ self._whitening.T
        signal = np.exp(self.hyper.signal)
        left = np.maximum(signal - np.einsum("ij,ij->i", known, known), 1e-6 * signal)
        left += np.sum(self._open_law(new, kernel) ** 2, axis=0)
        return self.unit * mean, self.unit**2 * left, self.unit**2 * noise_variance(new.run_noise, self.hyper)

    def covariance(self, new: Inputs, others: Inputs) -> np.ndarray:
        """Posterior covariance of the noise-free log loss of two sets of runs, `(m, k)`."""
        kernels = [self._kernel(side.x, self._scaled) for side in (new, others)]
        white = [whiten(self._factor, kernel.T) for kernel in kernels]
        law = [self._open_law(side, kernel) for side, kernel in zip((new, others), kernels, strict=True)]
        left = self._kernel(new.x, scaled(others.x, self.hyper)) - white[0].T @ white[1]
        return self.unit**2 * (left + law[0].T @ law[1])

    @property
    def prior_variance(self) -> float:
        """Variance of the residual before anything was learned, in log loss."""
        return float(self.unit**2 * np.exp(self.hyper.signal))

    def prior_covariance(self, new: Inputs, others: Inputs) -> np.ndarray:
        """Its covariance before anything was learned, of two sets of runs, `(m, k)`."""
        return self.unit**2 * self._kernel(new.x, scaled(others.x, self.hyper))

    def log_likelihoods(self, rows: np.ndarray, correlations: Iterable[np.ndarray]) -> np.ndarray:
        """That of some of its runs, `rows: (r,)`, for each further correlation `(r, r)` of their residuals, `(k,)`.

        The law is open. Up to a constant; -inf where that is no covariance.
        """
        inputs, z = self.inputs.take(rows), self.z[rows]
        kernel = self._kernel(inputs.x, scaled(inputs.x, self.hyper))
        rest = inputs.tangent @ inputs.tangent.T
        rest.flat[:: len(rows) + 1] += noise_variance(inputs.run_noise, self.hyper) / self.trust[rows] + _JITTER
        found = []
        for correlation in correlations:
            root = any_root(kernel * correlation + rest)
            found.append(-np.inf if root is None else -0.5 * z @ solve(root, z) - np.log(np.diag(root)).sum())
        return np.array(found)

    def left_out(self, groups: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Errors (predicted - observed) and sds of each run predicted from the others, `(n,)` each, in log loss.

        Where `groups` numbers the training runs, all rows of a run are left out together.
        """
        solved, root, _ = self._law
        of_law = whiten(root, solved.T)
        white = inverse_root(self._factor)  # K⁻¹ is its square less that of the law's part; whole, it would cost most
        # a typical run's noise, not the one that an outlier was given
        typical = noise_variance(self.inputs.run_noise, self.hyper) * (1.0 - 1.0 / self.trust)
        if groups is None:
            variance = 1.0 / (np.sum(white**2, axis=0) - np.sum(of_law**2, axis=0))
            error = -self._weights * variance
        else:
            error, variance = np.empty(len(self.z)), np.empty(len(self.z))
            for group in np.unique(groups):
                rows = np.flatnonzero(groups == group)
                block = np.linalg.inv(white[:, rows].T @ white[:, rows] - of_law[:, rows].T @ of_law[:, rows])
                error[rows], variance[rows] = -block @ self._weights[rows], np.diag(block)
        return self.unit * error, self.unit * np.sqrt(np.maximum(variance + typical, 1e-12))


def learn(
    inputs: Inputs, z: np.ndarray, shares: int, lengths: np.ndarray, *, unit: float, rows: int, steps: int = 80
) -> Process:
    """Learn the hyperparameters from at most `rows` runs (evenly spread) and condition on all of them.

    `inputs.tangent` is over the unit already, `z: (n,)` is in log loss, the first `shares` features are shares;
    `lengths: (d,)` are the prior centres of the log lengths.
    """
    run_noise = inputs.run_noise.shape[1]
    centre, spread = _prior_of(lengths, shares, run_noise)
    process = Process(Hyper.of(centre, shares, run_noise), unit, inputs, z / unit, np.ones(len(z)))
    some = np.unique(np.linspace(0, len(z) - 1, min(rows, len(z))).round().astype(int))
    for _ in range(_ROUNDS):
        small = Process(process.hyper, unit, inputs.take(some), process.z[some], process.trust[some])
        process = replace(process, hyper=_optimum(small, centre, spread, steps))
        process = replace(process, trust=_weight(process))
    return process


def _weight(process: Process) -> np.ndarray:
    """The robust weight of each run, `(n,)`: (ν + 1)/(ν + z²) by its leave-one-out error, as under Student's t."""
    error, sd = replace(process, trust=np.ones(len(process.z))).left_out()
    return np.minimum((TAIL + 1.0) / (TAIL + (error / sd) ** 2), 1.0)


def _prior_of(lengths: np.ndarray, shares: int, run_noise: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres and sds of the log hyperparameters, `(d + s + c + 2,)` each."""
    centre = Hyper(0.0, lengths, np.full(shares, _OFFSET), np.log(0.3), np.zeros(run_noise)).vector()
    sizes = {"signal": 1, "length": len(lengths), "offset": shares, "noise": 1, "run_noise": run_noise}
    return centre, np.concatenate([np.full(size, _SPREADS[name]) for name, size in sizes.items()])


def _optimum(process: Process, centre: np.ndarray, spread: np.ndarray, steps: int) -> Hyper:
    from scipy.optimize import minimize

    sizes = len(process.hyper.offsets), len(process.hyper.run_noise)
    dense = process.inputs.tangent @ process.inputs.tangent.T

    def objective(vector):
        value, slope = _evidence(Hyper.of(vector, *sizes), process, dense)
        step = (vector - centre) / spread
        return value + 0.5 * step @ step, slope + step / spread

    found = minimize(
        objective,
        process.hyper.vector(),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(centre - 6.0 * spread, centre + 6.0 * spread, strict=True)),
        options={"maxiter": steps, "ftol": 1e-6, "gtol": 1e-3},
    )
    return Hyper.of(found.x, *sizes)


def _evidence(hyper: Hyper, process: Process, dense: np.ndarray) -> tuple[float, np.ndarray]:
    """Negative log marginal likelihood and its gradient by the log hyperparameters."""
    z, n, inputs = process.z, len(process.z), process.inputs
    block = Block.of(inputs.x, hyper)
    covariance = np.exp(hyper.signal) * block.correlation
    covariance += dense
    noise = noise_variance(inputs.run_noise, hyper) / process.trust
    covariance.flat[:: n + 1] += noise + _JITTER
    root = any_root(covariance)
    if root is None:
        return _FAILED, np.zeros(len(hyper.vector()))
    weights = solve(root, z)
    value = 0.5 * z @ weights + np.log(np.diag(root)).sum()
    pull = half_inverse(root)
    pull *= 0.5
    pull.flat[:: n + 1] *= 0.5
    pull = pull + pull.T
    pull -= np.outer(weights, 0.5 * weights)
    by_noise = np.diag(pull) * noise
    return float(value), np.concatenate([block.gradient(inputs.x, pull), [by_noise.sum()], by_noise @ inputs.run_noise])
