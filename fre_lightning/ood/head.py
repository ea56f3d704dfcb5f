"""The head of a program: tensors that its user names, and the layer that they are applied to."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from fre_lightning.errors import BackboneError
from fre_lightning.ood.method import Head


def read_head(file: Path, state: Mapping[str, Tensor], names: Sequence[str]) -> Head:
    """The head of a program.

    Args:
        file: The program's, for messages.
        state: Its state dict.
        names: Of the weight `(K, D)`, and of the bias `(K,)` if there is one.

    Raises:
        BackboneError: If there are no such tensors.
    """
    found = [state[name].detach() for name in names if name in state]
    if len(found) < len(names) or [tensor.ndim for tensor in found] not in ([2], [2, 1]):
        matrices = [name for name, tensor in state.items() if tensor.ndim == 2]
        msg = (
            f"classifier.head={list(names)} must be the names of the head's weight and bias in the "
            f"state dict of {file}, whose matrices are {', '.join(matrices) or 'none'}. Correct or "
            "leave it out."
        )
        raise BackboneError(msg)
    weight, bias = found if len(found) == 2 else (found[0], found[0].new_zeros(len(found[0])))
    return Head(weight, bias)


def find_head_layer(
    file: Path, head: Head, vectors: Mapping[str, Tensor], logits: Tensor, tolerance: float
) -> str:
    """The layer whose vectors, given to the head, are the logits.

    Args:
        file: The program's, for messages.
        head: The head.
        vectors: `(N, D)` of each layer.
        logits: `(N, K)` of the same images.
        tolerance: Of the largest logit.

    Raises:
        BackboneError: If there is none.
    """
    for layer, inputs in vectors.items():
        if head.weight.shape == (logits.shape[1], inputs.shape[1]):
            found = F.linear(inputs, head.weight, head.bias)
            if torch.allclose(found, logits, 0, tolerance * float(logits.abs().max())):
                return layer
    msg = (
        f"classifier.head is not the head of {file}: what it gives for {', '.join(vectors)} are "
        "not the logits. Name the last linear layer, and have its input among classifier.layers; "
        "or leave it out."
    )
    raise BackboneError(msg)
