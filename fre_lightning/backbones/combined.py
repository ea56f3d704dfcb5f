"""Several backbones as one: their layers are fused as those of one backbone are."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from fre_lightning.backbones.base import Backbone
from fre_lightning.errors import ConfigError


class CombinedBackbone(Backbone):
    """Backbones side by side, which see the same images.

    Its layers are called `<part>.<layer>`. Each part's features are cached as if it were alone.
    """

    def __init__(self, name: str, backbones: Mapping[str, Backbone]) -> None:
        """Hold the backbones, ready-made.

        Args:
            name: What tables and folders call them together.
            backbones: At least one, each under a name of its own.

        Raises:
            ConfigError: If there is none, or their image sizes differ.
        """
        sizes = {part.image_size for part in backbones.values()}
        if len(sizes) != 1:
            listed = ", ".join(f"{key} {list(b.image_size)}" for key, b in backbones.items())
            msg = (
                f"Backbones that work together see the same images, and these have different "
                f"sizes: {listed or 'none'}. Set each model.backbones.NAME.image_size."
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
        """The parts' labels."""
        return " + ".join(part.weights_label for part in self.parts)

    def load_weights(self) -> None:
        """Load the parts' weights.

        Raises:
            BackboneError: If they cannot be had or do not fit.
        """
        for part in self.parts:
            part.load_weights()

    def forward(self, images: Tensor, layers: Sequence[str] | None = None) -> list[Tensor]:
        """Feature maps `(N, C, h, w)` of the parts' layers, of `(N, 3, H, W)` uint8 images."""
        maps = dict(zip(self.layers, (m for part in self.parts for m in part(images)), strict=True))
        return [maps[layer] for layer in (self.layers if layers is None else layers)]
