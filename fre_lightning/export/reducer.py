"""A reducer in an exported graph: each matrix is stored once, in half precision if asked."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fre_lightning.reducers import Reducer


class ExportedReducer(nn.Module):
    """The reconstruction of a fitted reducer, always computed in float32.

    The encoder is not transposed, because some formats would then store it both ways.
    """

    def __init__(self, reducer: Reducer, dtype: torch.dtype) -> None:
        """Take the weights.

        Args:
            reducer: Fitted.
            dtype: To store its k x D matrices in: float32, or float16.
        """
        super().__init__()
        self.tied = reducer.tied
        for name in ("mean", "encoder_bias", "decoder_bias"):
            self.register_buffer(name, getattr(reducer, name))
        self.register_buffer("encoder", reducer.encoder_weight.to(dtype))
        if not self.tied:
            self.register_buffer("decoder", reducer.decoder_weight.to(dtype))

    def forward(self, features: Tensor) -> Tensor:
        """Reconstruct `(N, D)` features."""
        encoder = self.get_buffer("encoder").float()
        decoder = encoder if self.tied else self.get_buffer("decoder").float()
        centred = features - self.get_buffer("mean")
        encoded = F.linear(centred, encoder, self.get_buffer("encoder_bias"))
        return encoded @ decoder + self.get_buffer("decoder_bias")
