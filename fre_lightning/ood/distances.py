"""Methods that look at distances between features: Mahalanobis, k-nearest neighbours, ViM."""

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fre_lightning.errors import ConfigError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.ood.method import Head, Known, Method
from fre_lightning.reducers.products import add_product
from fre_lightning.reducers.subspace import find_subspace

_BLOCK = 2**24
"""Distances that are computed at a time: 64 MB."""


class Mahalanobis(Method):
    """The least Mahalanobis distance to a class (Lee et al. 2018, arXiv 1807.03888).

    With one covariance for all classes, tied. Directions without variance are left out, as by a
    pseudo-inverse; of more than 5,000 features of as many images, all but those of 0.97 of the
    variance, see `find_subspace`.

    Attributes:
        centre: `(D,)`, the mean of all classes' means, subtracted to lose no digits.
        whitening: `(D, r)`, a root of the inverse covariance.
        means: `(C, r)`, the centred and whitened means of classes.
    """

    title: ClassVar[str] = "Mahalanobis"
    uses: ClassVar[str] = "features"
    centre: Tensor
    whitening: Tensor
    means: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_buffers("centre", "whitening", "means")

    @torch.no_grad()
    def fit(self, known: Known, device: torch.device | None = None) -> None:
        """Find the mean of each class, and the covariance about them."""
        means = class_means(known, device)
        n_images, n_classes = known.features.shape[0], len(means)
        subspace = find_subspace(FeatureMatrix([_Centred(known, means)]), device)
        variances = subspace.variances[: n_images - n_classes]  # more are rounding errors
        axes = subspace.lift(torch.eye(len(variances), len(subspace.variances))).T.to(means)
        whitening = axes / (variances * (n_images - 1) / n_images).sqrt()
        centre = means.mean(dim=0)
        self.keep(centre=centre, whitening=whitening, means=(means - centre) @ whitening)

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:  # noqa: ARG002
        """min_c (x - m_c)^T S^-1 (x - m_c)."""
        whitened = (features - self.centre) @ self.whitening
        if torch.compiler.is_exporting():  # cdist would fix the number of images
            return (whitened[:, None] - self.means).square().sum(dim=2).amin(dim=1)
        return torch.cdist(whitened, self.means).amin(dim=1).square()


class _Centred:
    """Known features `(N, D)` minus the mean of their class, computed when they are read."""

    def __init__(self, known: Known, means: Tensor) -> None:
        self.shape: tuple[int, ...] = known.features.shape
        self._known, self._means = known, means.cpu()

    def __getitem__(self, block: tuple[slice, slice]) -> NDArray[np.float64]:
        rows, columns = block
        means = self._means[:, columns][self._known.labels[rows]]
        return (self._known.features.block(rows, columns).double() - means).numpy()


class NearestNeighbours(Method):
    """The distance to the k-th nearest known image (Sun et al. 2022, arXiv 2204.06507).

    Features are normalised to length 1.

    Args:
        k: 50 for CIFAR-10 in the paper, 200 for CIFAR-100, 1000 for ImageNet.

    Attributes:
        bank: `(N, D)`, the known images' normalised features.
    """

    title: ClassVar[str] = "kNN"
    uses: ClassVar[str] = "features"
    bank: Tensor

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k
        self.add_buffers("bank")

    def fit(self, known: Known, device: torch.device | None = None) -> None:  # noqa: ARG002
        """Remember all features.

        Raises:
            ConfigError: If there are fewer than k.
        """
        n_images = known.features.shape[0]
        if not 1 <= self.k <= n_images:
            msg = f"methods.knn.k={self.k} must lie between 1 and the {n_images} known images."
            raise ConfigError(msg)
        self.keep(bank=torch.cat([F.normalize(rows) for _, rows in known.features.row_blocks()]))

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:  # noqa: ARG002
        """|z - z_(k)|, z = x / |x|."""
        normalized = F.normalize(features)
        if torch.compiler.is_exporting():  # split would fix the number of images
            return self._distances(normalized)
        parts = torch.split(normalized, max(1, _BLOCK // len(self.bank)))
        return torch.cat([self._distances(part) for part in parts])

    def _distances(self, normalized: Tensor) -> Tensor:
        # Of unit vectors the nearest has the greatest product; its distance is 2 - 2 products.
        products = (normalized @ self.bank.T).topk(self.k, dim=1).values[:, -1]
        return (2 - 2 * products).clamp(min=0).sqrt()


class ViM(Method):
    """Virtual-logit matching (Wang et al. 2022, arXiv 2203.10807).

    The length of what lies outside of the principal subspace, scaled to the size of logits, beside
    them. That is FRE's error about another origin, where the head's logits are least.

    Args:
        n_components: D', the dimension of the subspace; None: 1000 for at least 2048 features and
            512 for at least 768, as in the paper, else half of the features.

    Attributes:
        origin: `(D,)`, o.
        residual: `(D, D - D')`, R, axes outside of the subspace.
        scale: `()`, alpha.
    """

    title: ClassVar[str] = "ViM"
    uses: ClassVar[str] = "head"
    origin: Tensor
    residual: Tensor
    scale: Tensor

    def __init__(self, n_components: int | None) -> None:
        super().__init__()
        self.n_components = n_components
        self.add_buffers("origin", "residual", "scale")

    @torch.no_grad()
    def fit(self, known: Known, device: torch.device | None = None) -> None:
        """Find the axes, and the mean length of known images outside of them.

        Raises:
            ConfigError: If the subspace leaves nothing out.
        """
        assert known.head is not None
        n_features = known.features.shape[1]
        rank = self.n_components or default_rank(n_features)
        if not 0 < rank < n_features:
            msg = f"methods.vim.n_components={rank} must be less than the {n_features} features."
            raise ConfigError(msg)
        origin = find_origin(known.head).to(device)
        labels = torch.zeros(known.features.shape[0], dtype=torch.int64)
        scatter = _scatter(known.features, origin[None], labels)
        residual = torch.linalg.eigh(scatter).eigenvectors[:, : n_features - rank]
        self.keep(origin=origin, residual=residual)
        blocks = (rows.to(self.origin.device) for _, rows in known.features.row_blocks())
        lengths = torch.cat([self._lengths(rows) for rows in blocks])
        self.keep(scale=known.logits.amax(dim=1).sum().to(lengths) / lengths.sum())

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """Scaled length outside the subspace minus logsumexp, which orders as the softmax does."""
        return self.scale * self._lengths(features) - logits.logsumexp(dim=1)

    def _lengths(self, features: Tensor) -> Tensor:
        lengths: Tensor = torch.linalg.vector_norm((features - self.origin) @ self.residual, dim=1)
        return lengths


def default_rank(n_features: int) -> int:
    """ViM's dimension of the principal subspace for a number of features."""
    return 1000 if n_features >= 2048 else 512 if n_features >= 768 else n_features // 2


def find_origin(head: Head) -> Tensor:
    """The point `(D,)` float64 whose logits are least, o = -(W^T)^+ b."""
    origin: Tensor = -torch.linalg.pinv(head.weight.double()) @ head.bias.double()
    return origin


def class_means(known: Known, device: torch.device | None) -> Tensor:
    """The mean features of each class, `(C, D)` float64."""
    counts = torch.bincount(known.labels).double().to(device)
    sums = torch.zeros(len(counts), known.features.shape[1], dtype=torch.float64, device=device)
    for rows, block in known.features.row_blocks():
        sums.index_add_(0, known.labels[rows].to(device), block.double().to(device))
    return sums / counts[:, None]


def _scatter(features: FeatureMatrix, origins: Tensor, labels: Tensor) -> Tensor:
    """Sum of outer products `(D, D)` of features minus the origin `(C, D)` of their label."""
    total = torch.zeros(features.shape[1], features.shape[1]).to(origins)
    for rows, block in features.row_blocks():
        values = block.to(origins) - origins[labels[rows].to(origins.device)]
        add_product(total, values.T)
    return total.triu() + total.triu(1).T
