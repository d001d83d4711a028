"""A Gaussian process of what suggestions reached, in NumPy: one fit a batch, and then a point at a time.

Matern-5/2 with a length scale a parameter. Length scales and noise are those of largest posterior density,
under the priors of Hvarfner, Hellsten & Nardi (2024), "Vanilla Bayesian Optimization Performs Great in High
Dimensions" (https://arxiv.org/abs/2402.02229), with BoTorch's prior of the noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import log_ndtr, ndtr

Array = NDArray[np.float64]

LOCATION, SPREAD = math.sqrt(2.0), math.sqrt(3.0)
"""Of the prior of a length scale's logarithm: normal, at LOCATION + log(parameters) / 2."""
NOISE_LOCATION, NOISE_SPREAD = -4.0, 1.0
"""Of the prior of the logarithm of the noise's variance, where the values' is 1."""
BOUNDS, NOISE_BOUNDS = (math.log(5e-3), math.log(1e2)), (math.log(1e-5), 0.0)
STEPS = 40
"""Most steps of the search for length scales and noise."""
LEAST_VARIANCE = 1e-10


@dataclass
class GaussianProcess:
    """A process with mean 0 and variance 1, conditioned on `points` (N, C) of which the first n have values.

    `owners` (C,) are the parameters of the columns, `scales` (P,) their length scales; `weights` (n,) give
    the mean, `root` (N, N) is the lower root of the covariance of all points, the noise's variance among it.
    """

    points: Array
    owners: NDArray[np.int64]
    scales: Array
    noise: float
    root: Array
    weights: Array

    def covariance(self, a: Array, b: Array) -> Array:
        """Return the covariance (A, B) of points (A, C) and (B, C)."""
        shrunk = 1.0 / self.scales[self.owners]
        return matern(squared_distances(a * shrunk, b * shrunk))

    def add(self, point: Array) -> tuple[Array, float]:
        """Condition on a point (C,) whose value is its mean; returns the new last row of the root."""
        row = solve_triangular(self.root, self.covariance(self.points, point[None])[:, 0], lower=True)
        last = math.sqrt(max(1.0 + self.noise - float(row @ row), LEAST_VARIANCE))
        size = len(row)
        root = np.zeros((size + 1, size + 1))
        root[:size, :size], root[size, :size], root[size, size] = self.root, row, last
        self.root, self.points = root, np.vstack([self.points, point])
        return row, last


class Prediction:
    """A process at points (M, C): `mean` (M,) and `variance` (M,) without the noise."""

    def __init__(self, process: GaussianProcess, points: Array) -> None:
        self.points = points
        covariance = process.covariance(process.points, points)
        self.mean = process.weights @ covariance[: len(process.weights)]
        self._whitened = solve_triangular(process.root, covariance, lower=True, check_finite=False)
        self.variance = np.maximum(1.0 - (self._whitened**2).sum(0), LEAST_VARIANCE)

    def update(self, process: GaussianProcess, row: Array, last: float) -> None:
        """Follow the process, to which its last point was added with the row of its root."""
        covariance = process.covariance(process.points[-1:], self.points)[0]
        whitened = (covariance - row @ self._whitened) / last
        self._whitened = np.vstack([self._whitened, whitened])
        self.variance = np.maximum(self.variance - whitened**2, LEAST_VARIANCE)


def fit(points: Array, values: Array, owners: NDArray[np.int64], most: NDArray[np.int64]) -> GaussianProcess:
    """Fit length scales and noise to the points of rows `most`, and condition on all of them.

    `points` are (n, C), `values` (n,) standardised; `owners` (C,) name the parameter of each column.
    """
    scales, noise = _fitted(points[most], values[most], owners)
    process = GaussianProcess(points, owners, scales, noise, np.empty((0, 0)), np.empty(0))
    covariance = process.covariance(points, points)
    covariance[np.diag_indices(len(points))] += noise
    process.root = cholesky(covariance, lower=True)
    process.weights = cho_solve((process.root, True), values)
    return process


def _fitted(points: Array, values: Array, owners: NDArray[np.int64]) -> tuple[Array, float]:
    """Return the length scales and the noise's variance of largest posterior density."""
    count = int(owners.max()) + 1
    apart = np.stack(
        [squared_distances(points[:, owners == p], points[:, owners == p]) for p in range(count)]
    )
    flat = apart.reshape(count, -1)
    center = LOCATION + math.log(count) / 2

    def loss(theta: Array) -> tuple[float, Array]:
        inverse, noise = np.exp(-2.0 * theta[:-1]), math.exp(theta[-1])
        squared = (inverse @ flat).reshape(apart.shape[1:])
        root5 = np.sqrt(5.0 * squared)
        decay = np.exp(-root5)
        covariance = (1.0 + root5 + 5.0 / 3.0 * squared) * decay
        covariance[np.diag_indices(len(values))] += noise
        root = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
        inverted = cho_solve((root, True), np.eye(len(values)), check_finite=False)
        weights = inverted @ values
        prior = (theta[:-1] - center) / SPREAD
        of_noise = (theta[-1] - NOISE_LOCATION) / NOISE_SPREAD
        value = 0.5 * float(values @ weights) + float(np.log(np.diag(root)).sum())
        value += 0.5 * float(prior @ prior + of_noise**2)
        inner = inverted - np.outer(weights, weights)
        slope = inner * (-5.0 / 6.0 * (1.0 + root5) * decay)
        by_scale = -(flat @ slope.ravel()) * inverse + prior / SPREAD
        by_noise = 0.5 * noise * float(np.trace(inner)) + of_noise / NOISE_SPREAD
        return value, np.append(by_scale, by_noise)

    start = np.append(np.full(count, min(center, 0.0)), NOISE_LOCATION)
    bounds = [*[BOUNDS] * count, NOISE_BOUNDS]
    theta = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS}).x
    return np.exp(theta[:-1]), math.exp(theta[-1])


def squared_distances(a: Array, b: Array) -> Array:
    """Return the squared distances (A, B) of points (A, C) and (B, C)."""
    squared: Array = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2.0 * a @ b.T, 0.0)
    return squared


def matern(squared: Array) -> Array:
    """Return Matern's covariance of smoothness 5/2 at squared distances."""
    root5 = np.sqrt(5.0 * squared)
    covariance: Array = (1.0 + root5 + 5.0 / 3.0 * squared) * np.exp(-root5)
    return covariance


def expected_improvement(mean: Array, variance: Array, best: float | Array) -> Array:
    """Return the expected excess over `best` of normal values, for broadcastable arrays."""
    spread = np.sqrt(variance)
    z = (mean - best) / spread
    excess: Array = np.maximum(np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi) + z * ndtr(z), 0.0)
    return spread * excess


def log_expected_improvement(mean: Array, variance: Array, best: float) -> Array:
    """Return the logarithm of the expected excess over `best`, also where the excess itself underflows.

    Ament et al. (2023), https://arxiv.org/abs/2310.20708. Far below the best the excess
    goes as density / z^2 (1 - 3 / z^2), within 0.2 % from z = -10 on.
    """
    spread = np.sqrt(variance)
    z = (mean - best) / spread
    density = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    far = z < -10.0
    near = np.where(far, -10.0, z)
    ratio = np.exp(np.clip(log_ndtr(near) + 0.5 * near**2 + 0.5 * math.log(2 * math.pi), None, 700.0))
    inside = np.log(np.maximum(1.0 + near * ratio, 1e-300))
    square = np.where(far, z, -10.0) ** 2
    logarithm: Array = np.log(spread) + density
    return logarithm + np.where(far, np.log1p(-3.0 / square) - np.log(square), inside)


def expected_hypervolume(means: Array, variances: Array, front: Array, reference: Array) -> Array:
    """Return the expected gain of hypervolume (M,) of points with independent means and variances (2, M).

    Both values are to be large. The plane above the `front` (F, 2) is cut into strips along the first value;
    in a strip from a to b, above height h, the gain is (min(y1, b) - a)+ (y2 - h)+, of independent factors
    (Emmerich, Yang et al. 2016, https://doi.org/10.1145/2908812.2908898, in two dimensions).
    """
    rising = front[np.argsort(front[:, 0])]
    edges = np.append(reference[0], rising[:, 0])
    heights = np.append(rising[:, 1], reference[1])
    beyond = [expected_improvement(means[0], variances[0], edge) for edge in edges]
    above = [expected_improvement(means[1], variances[1], height) for height in heights]
    gained: Array = np.zeros_like(means[0])
    for i, height in enumerate(above):
        end = beyond[i + 1] if i + 1 < len(beyond) else 0.0
        gained += (beyond[i] - end) * height
    return gained
