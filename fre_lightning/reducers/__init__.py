"""Reducers: affine maps that learn the subspace of normal features."""

from fre_lightning.reducers.ae import Autoencoder, TiedAutoencoder
from fre_lightning.reducers.base import GradientReducer, NotFittedError, Reducer, train
from fre_lightning.reducers.pca import PCA

__all__ = [
    "PCA",
    "Autoencoder",
    "GradientReducer",
    "NotFittedError",
    "Reducer",
    "TiedAutoencoder",
    "train",
]
