"""The reducer TAE, the tied linear autoencoder: its decoder is its encoder transposed."""

from typing import ClassVar

from fre_lightning.reducers.ae import Autoencoder


class TiedAutoencoder(Autoencoder):
    """A linear autoencoder with one weight matrix, trained as `Autoencoder` is."""

    name: ClassVar[str] = "tae"
    tied: ClassVar[bool] = True
