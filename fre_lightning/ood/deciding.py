"""A fitted classifier and the one method that decides, as one module for exports."""

from torch import Tensor, nn

from fre_lightning.ood.model import OODModel


class Deciding(nn.Module):
    """Maps images to scores of the method that decides and to logits; it has no other method.

    Args:
        model: Fitted.
        method: The key of the method.

    Raises:
        ConfigError: If there is no such method.
    """

    intensity: None = None  # its images have 8 bits

    def __init__(self, model: OODModel, method: str) -> None:
        super().__init__()
        entry = model.entries[model.index_of(method)]
        self.title, self.method = entry.title, entry.method
        self.backbone = model.backbone
        self.image_size = model.image_size
        self.description = f"{model.description}, {entry.title}"
        self._layer = model.backbone.layers.index(entry.layer)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores `(N,)` and logits `(N, K)` of `(N, 3, H, W)` uint8 images."""
        layers = [layer.float() for layer in self.backbone.features(images)]
        return self.method(layers[self._layer], layers[-1]), layers[-1]
