"""What a layer gives as vectors: means over all positions, or maps averaged over windows."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from fre_lightning.backbones.base import pool_features
from fre_lightning.errors import ConfigError

Window = int | None
"""The side of windows that maps are averaged over, before they are flattened; None: the mean over
all positions."""

Pool = Window | Sequence[Window]
"""The setting `classifier.pool`: for all layers, or for each."""


def read_windows(pool: Pool, n_layers: int) -> tuple[Window, ...]:
    """The window of each layer, and of logits, which have none.

    Raises:
        ConfigError: If one is not positive, or there are others than layers.
    """
    windows = (pool,) * n_layers if pool is None or isinstance(pool, int) else tuple(pool)
    if len(windows) != n_layers or any(window is not None and window < 1 for window in windows):
        msg = (
            f"classifier.pool={pool} must be null or a positive number, or such for each of the "
            f"{n_layers} classifier.layers."
        )
        raise ConfigError(msg)
    return (*windows, None)


def to_vectors(output: Tensor, window: Window = None) -> Tensor:
    """Vectors `(N, D)` of what a layer gives.

    Args:
        output: `(N, C, h, w)` maps, averaged and flattened; `(N, L, C)` tokens, averaged over
            positions; or `(N, C)`, as they are.
        window: Of maps; see `pool_features` for what does not fill one.
    """
    if output.ndim == 4 and window is not None:
        return pool_features(output, window).flatten(1)
    if output.ndim == 4:
        return output.mean(dim=(2, 3))
    return output.mean(dim=1) if output.ndim == 3 else output


def check_windows(name: str, windows: Mapping[str, Window], outputs: Mapping[str, Tensor]) -> None:
    """Refuse windows without maps that they fit into.

    Args:
        name: The classifier's, for messages.
        windows: Of each layer.
        outputs: What each layer gives, of any shape.

    Raises:
        ConfigError: If none of the layers that have a window gives a map, or one is too small.
    """
    chosen = {layer: window for layer, window in windows.items() if window is not None}
    maps = [layer for layer in chosen if outputs[layer].ndim == 4]
    if chosen and not maps:
        msg = (
            f"classifier.pool averages maps in windows, and {', '.join(chosen)} of {name} is no "
            "map. Choose classifier.layers before the last average, or classifier.pool=null."
        )
        raise ConfigError(msg)
    for layer in maps:
        height, width = outputs[layer].shape[2:]
        if chosen[layer] > min(height, width):
            msg = (
                f"classifier.pool={chosen[layer]} is too large for the maps of {layer}, which have "
                f"{height}x{width} positions. Choose a smaller one."
            )
            raise ConfigError(msg)
