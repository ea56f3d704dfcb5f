"""Several backbones as one, whose layers are fused like the layers of a single backbone."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from fre_lightning.backbones.base import Backbone
from fre_lightning.errors import ConfigError


class CombinedBackbone(Backbone):
    """Several backbones that get the same images.

    Its layers are called `<key>.<layer>`. Features of each backbone are cached as if it were alone.

    Args:
        name: The combination's name in tables and folders.
        backbones: At least one, by key.

    Raises:
        ConfigError: If there are none, or their image sizes differ.
    """

    def __init__(self, name: str, backbones: Mapping[str, Backbone]) -> None:
        sizes = {part.image_size for part in backbones.values()}
        if len(sizes) != 1:
            listed = ", ".join(f"{key} {list(b.image_size)}" for key, b in backbones.items())
            msg = (
                "Combined backbones get the same images, and these have different sizes: "
                f"{listed or 'none'}. Set each model.backbones.NAME.image_size."
            )
            raise ConfigError(msg)
        layers = [f"{key}.{layer}" for key, part in backbones.items() for layer in part.layers]
        pools = [pool for part in backbones.values() for pool in part.pools]
        super().__init__(name, layers, pools, sizes.pop())
        self.backbones = nn.ModuleDict(backbones)

    @property
    def parts(self) -> Sequence[Backbone]:
        """The backbones."""
        return tuple(self.backbones.values())  # type: ignore[arg-type]  # they are Backbones

    @property
    def weights_label(self) -> str:
        """The labels of all backbones."""
        return " + ".join(part.weights_label for part in self.parts)

    def load_weights(self) -> None:
        """Load the weights of all backbones."""
        for part in self.parts:
            part.load_weights()

    def prepare_export(self) -> None:
        """Prepare all backbones."""
        for part in self.parts:
            part.prepare_export()

    def forward(self, images: Tensor, layers: Sequence[str] | None = None) -> list[Tensor]:
        """Feature maps `(N, C, h, w)` of the layers of `(N, 3, H, W)` uint8 images."""
        maps = dict(zip(self.layers, (m for part in self.parts for m in part(images)), strict=True))
        return [maps[layer] for layer in (self.layers if layers is None else layers)]
