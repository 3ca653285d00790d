"""Fréchet distance between the Gaussians of two sets of features, the measure behind FID.

Heusel et al. 2017, equation 6. Published FIDs take features of an Inception network of 2015 whose weights come as a
pickle, which is never opened here. A distance between features of another network is another measure: it is named after
the network (`fid@zoo:dino`) and compares with itself only. With fewer images than features covariances are singular and
the value depends on the number of images, so that number is always reported with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]

MIN_SAMPLES = 2

# N images, D features


class Gaussian(NamedTuple):
    """Mean and covariance of a set of features, float64."""

    mean_D: Doubles
    covariance_DD: Doubles


def gaussian_of(features_ND: npt.NDArray[np.floating]) -> Gaussian:
    """Mean, and covariance with N - 1 in the denominator. Raises ValueError for fewer than two rows."""
    if len(features_ND) < MIN_SAMPLES:
        raise ValueError(f"{len(features_ND)} images have no covariance; the Fréchet distance needs two at least")
    doubles_ND = features_ND.astype(np.float64)
    return Gaussian(doubles_ND.mean(axis=0), np.atleast_2d(np.cov(doubles_ND, rowvar=False)))


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), 0 or more.

    The trace of the root of S1 S2 is that of the root of S1^(1/2) S2 S1^(1/2), which is symmetric: its eigenvalues are
    real and stay accurate where covariances are singular and a general matrix root is not.
    """
    root_DD = _root(one.covariance_DD)
    inner = np.linalg.eigvalsh(root_DD @ other.covariance_DD @ root_DD)
    cross = np.sqrt(np.clip(inner, 0, None)).sum()
    shift = np.square(one.mean_D - other.mean_D).sum()
    distance = shift + np.trace(one.covariance_DD) + np.trace(other.covariance_DD) - 2 * cross
    return max(0.0, float(distance))


def _root(covariance_DD: Doubles) -> Doubles:
    """The symmetric square root. Eigenvalues that rounding made negative count as 0."""
    values_D, vectors_DD = np.linalg.eigh(covariance_DD)
    root: Doubles = (vectors_DD * np.sqrt(np.clip(values_D, 0, None))) @ vectors_DD.T
    return root
