"""The subspace of feature vectors: their mean, principal axes, and coordinates along the axes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fre_lightning.errors import ConfigError, FeatureError
from fre_lightning.features.matrix import FeatureMatrix

# A symmetric product in n panels of rows takes (n + 1) / 2n of the arithmetic: 5 / 8.
_N_PANELS = 4


@dataclass(frozen=True)
class Subspace:
    """All principal axes of `(N, D)` features, stored in the smaller of the two dimensions.

    With more features than images (D > N) the axes would be another `(N, D)` matrix. They are
    linear combinations of the centred features, so `basis` holds the weights instead.

    Attributes:
        features: The features; `lift` and `coordinates` read them again.
        mean: `(D,)` float64.
        variances: `(r,)` float64, the variance along each axis, descending, normalised by N - 1;
            those that are rounding errors are left out.
        basis: `(N, r)` float64, left singular vectors, if D > N; else `(D, r)`, the axes.
        scatter: Float64; the `(N, N)` Gram matrix of the centred features if D > N, else their
            `(D, D)` scatter matrix.
    """

    features: FeatureMatrix
    mean: Tensor
    variances: Tensor
    basis: Tensor
    scatter: Tensor

    @property
    def in_sample_space(self) -> bool:
        """Whether `basis` combines images rather than features."""
        return self.features.shape[1] > self.features.shape[0]

    @property
    def _singular_values(self) -> Tensor:
        return (self.variances * (self.features.shape[0] - 1)).sqrt()

    def coordinates(self) -> Tensor:
        """Coordinates of the centred features along the axes, `(N, r)` float64: an isometry."""
        if self.in_sample_space:
            return self.basis * self._singular_values
        blocks = (rows.to(self.basis).sub_(self.mean) for _, rows in self.features.row_blocks())
        return torch.cat([block @ self.basis for block in blocks])

    def lift(self, weights: Tensor) -> Tensor:
        """Turn `(k, r)` weights over the axes into `(k, D)` float32 weights over the features."""
        weights = weights.to(self.basis)
        if not self.in_sample_space:
            return (weights @ self.basis.T).float()
        combinations = (weights / self._singular_values) @ self.basis.T  # (k, N)
        lifted = torch.empty(len(weights), len(self.mean), device=self.basis.device)
        for columns, block in self.features.column_blocks():
            centred = block.to(self.basis).sub_(self.mean[columns])
            lifted[:, columns] = (combinations @ centred).float()
        return lifted


def find_subspace(features: FeatureMatrix, device: torch.device | None = None) -> Subspace:
    """Find the principal axes of features exactly, without a copy of their matrix.

    By an eigendecomposition of the `(N, N)` Gram matrix if D > N, else of the `(D, D)` scatter
    matrix, computed block by block. In float64: float32 would lose the small eigenvalues.

    Args:
        features: `(N, D)`, N at least 2.
        device: Where to compute; None, and devices without float64, mean the CPU.

    Raises:
        FeatureError: If there are fewer than two images, or the features do not vary.
    """
    n_samples, n_features = features.shape
    if n_samples < 2:
        msg = (
            f"FRE learns what normal images have in common, and there is {n_samples} of them to "
            "train on. Give it at least 2, better 20 or more."
        )
        raise FeatureError(msg)
    device = torch.device("cpu") if device is None or device.type == "mps" else device
    upper, mean = (_gram if n_features > n_samples else _covariance)(features, device)
    scatter = upper.triu() + upper.triu(1).T
    variances, basis = principal_axes(scatter, n_samples)
    return Subspace(features, mean, variances, basis, scatter)


def principal_axes(scatter: Tensor, n_samples: int) -> tuple[Tensor, Tensor]:
    """Eigendecomposition of the Gram or scatter matrix of centred features, without null space.

    Args:
        scatter: `(n, n)` float64, symmetric.
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


def choose_rank(n_components: float | str, variances: Tensor) -> int:
    """The number of components for a share of the variance, or a number.

    Args:
        n_components: A share of the variance in (0, 1): the smallest sufficient number is taken,
            as in scikit-learn's PCA. Or the number itself, an integer. Words are refused.
        variances: `(r,)` descending.

    Raises:
        ConfigError: If it is neither, or more than the features' rank r.
    """
    rank = len(variances)
    if isinstance(n_components, float) and 0 < n_components < 1:
        ratios = torch.cumsum(variances / variances.sum(), dim=0).cpu()
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


def _gram(features: FeatureMatrix, device: torch.device) -> tuple[Tensor, Tensor]:
    """Upper half of the `(N, N)` Gram matrix of the centred features, and their mean `(D,)`."""
    n_samples, n_features = features.shape
    gram = torch.zeros(n_samples, n_samples, dtype=torch.float64, device=device)
    mean = torch.empty(n_features, dtype=torch.float64, device=device)
    for columns, block in features.column_blocks():
        values = block.to(device).double()
        mean[columns] = values.mean(dim=0)
        values -= mean[columns]
        add_product(gram, values)
    return gram, mean


def _covariance(features: FeatureMatrix, device: torch.device) -> tuple[Tensor, Tensor]:
    """Upper half of the `(D, D)` scatter matrix of the centred features, and their mean `(D,)`."""
    n_samples, n_features = features.shape
    scatter = torch.zeros(n_features, n_features, dtype=torch.float64, device=device)
    total = torch.zeros(n_features, dtype=torch.float64, device=device)
    # A shift near the mean keeps squares small, so that subtracting the mean loses no precision.
    shift = features.block(slice(0, 256)).to(device).double().mean(dim=0)
    for _, rows in features.row_blocks():
        values = rows.to(device).double() - shift
        total += values.sum(dim=0)
        add_product(scatter, values.T)
    scatter -= torch.outer(total, total) / n_samples
    return scatter, shift + total / n_samples


def add_product(total: Tensor, values: Tensor) -> None:
    """Add `values @ values.T` of `(n, m)` values to `(n, n)`, on and above the diagonal only."""
    step = -(-len(values) // _N_PANELS)
    for start in range(0, len(values), step):
        rows = slice(start, start + step)
        total[rows, start:].addmm_(values[rows], values[start:].T)
