"""Principal axes of a symmetric matrix, and how many of them to keep."""

from typing import TypeGuard

import torch
from torch import Tensor

from fre_lightning.errors import ConfigError, FeatureError


def principal_axes(scatter: Tensor, n_samples: int) -> tuple[Tensor, Tensor]:
    """Eigendecomposition of the Gram or scatter matrix of centred features, without null space.

    Args:
        scatter: `(n, n)`, symmetric; what is above the diagonal is not read.
        n_samples: N, the number of images behind it.

    Returns:
        Variances along the axes `(r,)`, descending, and eigenvectors `(n, r)`.

    Raises:
        FeatureError: If the features do not vary.
    """
    eigenvalues, eigenvectors = torch.linalg.eigh(scatter)
    eigenvalues, eigenvectors = eigenvalues.flip(0), eigenvectors.flip(1)
    # Centring leaves one null direction; rounding errors give it an eigenvalue of this size.
    floor = eigenvalues[0] * max(len(scatter), n_samples) * torch.finfo(torch.float64).eps
    rank = int((eigenvalues > floor).sum().clamp(max=n_samples - 1)) if eigenvalues[0] > 0 else 0
    if rank == 0:
        msg = "All training images have the same features: are they copies of one image?"
        raise FeatureError(msg)
    return eigenvalues[:rank] / (n_samples - 1), eigenvectors[:, :rank]


def choose_rank(n_components: float | str, variances: Tensor, left_out: float = 0.0) -> int:
    """The number of components for a share of the variance, or a number.

    Args:
        n_components: A share of the variance in (0, 1): the smallest sufficient number is taken,
            as in scikit-learn's PCA. Or the number itself, an integer. Words are refused.
        variances: `(r,)` descending.
        left_out: The sum of the variances in other directions, of which a share counts too.

    Raises:
        ConfigError: If it is neither, or more than the features' rank r.
    """
    rank = len(variances)
    if is_share(n_components):
        ratios = torch.cumsum(variances / (variances.sum() + left_out), dim=0).cpu()
        reached = int(torch.searchsorted(ratios, torch.tensor(n_components).double(), right=True))
        return min(reached + 1, rank)
    if isinstance(n_components, bool | str) or not n_components == int(n_components) > 0:
        msg = (
            f"reducer.n_components={n_components} is neither a share of the variance between 0 "
            "and 1, nor a number of components, nor held_out."
        )
        raise ConfigError(msg)
    if n_components > rank:
        msg = (
            f"reducer.n_components={int(n_components)} is more than the {rank} directions in which "
            f"the training features vary (one less than the images at most). "
            f"Choose at most {rank}, or a share of the variance such as 0.97."
        )
        raise ConfigError(msg)
    return int(n_components)


def limited_rank(n_components: float, variances: Tensor, left_out: float = 0.0) -> int:
    """As `choose_rank`, but all axes where more are asked for than there are."""
    limited = n_components if is_share(n_components) else min(n_components, len(variances))
    return choose_rank(limited, variances, left_out)


def is_share(n_components: float | str) -> TypeGuard[float]:
    """Whether a setting is a share of the variance."""
    return isinstance(n_components, float) and 0 < n_components < 1


def leading_axes(
    scatter: Tensor, n_samples: int, n_components: float | None
) -> tuple[Tensor, Tensor]:
    """The first `n_components` of `principal_axes`, or as many as there are; None: all."""
    variances, axes = principal_axes(scatter, n_samples)
    if n_components is None:
        return variances, axes
    rank = limited_rank(n_components, variances)
    return variances[:rank], axes[:, :rank]
