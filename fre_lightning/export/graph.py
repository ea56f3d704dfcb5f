"""A detector as one graph: images in, scores and more out, free of this package."""

import io
import warnings
from contextlib import redirect_stderr
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional as F

from fre_lightning.detector.model import FREModel
from fre_lightning.errors import ExportError
from fre_lightning.export.base import cause_of, only_errors
from fre_lightning.export.lanczos import LanczosResize
from fre_lightning.fitted import copy_sharing_tensors
from fre_lightning.ood.deciding import Deciding
from fre_lightning.reducers import Reducer

INPUT = "images"

ModelT = TypeVar("ModelT", bound=FREModel | Deciding)


class DetectorGraph(nn.Module):
    """A detector for images as other programs hold them: `(N, H, W, 3)` uint8, RGB.

    If it was trained on a range of levels, images are float32 in the units of its training images.

    Args:
        model: From `exportable`.
        resize: Resizes images to the model's size; None if they have it.
    """

    def __init__(self, model: FREModel | Deciding, resize: LanczosResize | None) -> None:
        super().__init__()
        self.model = model
        self.resize = resize

    @property
    def input_size(self) -> tuple[int, int] | None:
        """`(H, W)` of the images; None: any size."""
        return self.resize.input_size if self.resize else self.model.image_size

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores `(N,)`, and anomaly maps `(N, h, w)` at the model's image size, or logits."""
        if self.model.intensity:
            low, high, _ = self.model.intensity
            scaled = (images - low) * (255.0 / (high - low))
            images = scaled.round().clamp(0, 255).to(torch.uint8)  # as `to_levels`
        planes = self.resize(images) if self.resize else images.permute(0, 3, 1, 2)
        scores, others = self.model(planes)
        return scores, others


class ExportedReducer(nn.Module):
    """The reconstruction of a fitted reducer, always computed in float32.

    The encoder is not transposed, because some formats would then store it both ways.

    Args:
        reducer: Fitted.
        dtype: To store its k x D matrices in, each once: float32, or float16.
    """

    def __init__(self, reducer: Reducer, dtype: torch.dtype) -> None:
        super().__init__()
        self.tied = reducer.tied
        for name in ("mean", "encoder_bias", "decoder_bias"):
            self.register_buffer(name, getattr(reducer, name))
        self.register_buffer("encoder", reducer.encoder_weight.to(dtype))
        if not self.tied:
            self.register_buffer("decoder", reducer.decoder_weight.to(dtype))

    def squared_errors(self, features: Tensor) -> Tensor:
        """Squared reconstruction errors `(N,)` of `(N, D)` features, summed over D."""
        error: Tensor = (features - self(features)).square().sum(dim=1)
        return error

    def forward(self, features: Tensor) -> Tensor:
        """Reconstruct `(N, D)` features."""
        encoder = self.get_buffer("encoder").float()
        decoder = encoder if self.tied else self.get_buffer("decoder").float()
        centred = features - self.get_buffer("mean")
        encoded = F.linear(centred, encoder, self.get_buffer("encoder_bias"))
        return encoded @ decoder + self.get_buffer("decoder_bias")


def exportable(model: ModelT, *, half_reducer: bool) -> ModelT:
    """A copy of a model that shares its tensors, with parts that every format can hold."""
    copied = copy_sharing_tensors(model)
    copied.backbone.prepare_export()
    dtype = torch.float16 if half_reducer else torch.float32
    for name, part in list(copied.named_modules()):
        if isinstance(part, Reducer):
            copied.set_submodule(name, ExportedReducer(part, dtype))
    copied.eval().requires_grad_(requires_grad=False)
    return copied


def record(graph: DetectorGraph) -> ExportedProgram:
    """Record a graph for any number of images; their size is free too if the graph resizes them.

    Raises:
        ExportError: If torch.export cannot, mostly for code that depends on what images show.
    """
    sizes: dict[int, Dim] = {0: Dim("n")}
    input_size = graph.input_size
    if input_size is None:
        sizes |= {1: Dim("height", min=2), 2: Dim("width", min=2)}
        height, width = graph.model.image_size
        input_size = (height + 2, width + 3)  # unlike each other and the model's
    dtype = torch.float32 if graph.model.intensity else torch.uint8
    example = torch.zeros(2, *input_size, 3, dtype=dtype)
    try:
        # What fails is told below; torch.export would print half of the graph before.
        with torch.no_grad(), warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            with only_errors("torch.fx"):
                program = torch.export.export(graph, (example,), dynamic_shapes=({**sizes},))
            decomposed: ExportedProgram = program.run_decompositions(
                {torch.ops.aten.copysign.Tensor: _copysign}
            )
            return decomposed
    except Exception as error:  # torch raises all kinds
        msg = (
            "This detector cannot be exported in any format: torch.export cannot record what it "
            f"computes ({cause_of(error, 0)}). If a branch or a loop depends on what images show, "
            "write it with torch.where or torch.cond; predict and serve take it as it is."
        )
        raise ExportError(msg) from error


def _copysign(magnitude: Tensor, sign: Tensor) -> Tensor:
    """For formats without such an operator; the sign of zeros does not matter."""
    magnitude = magnitude.abs()
    return torch.where(sign < 0, -magnitude, magnitude)
