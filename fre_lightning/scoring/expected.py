"""The error that is expected of normal images at each position."""

import torch
from torch import Tensor
from torch.nn import functional as F

_PRIOR_IMAGES = 20
"""As many images the earlier profile of positions counts for when a few later ones are learnt."""
_LEAST = 1e-6  # divisors that are 0 where nothing counts


def expected_error(
    maps: Tensor, position_norm: float, prior: Tensor | None, weights: Tensor | None
) -> Tensor:
    """The expected error: a smoothed profile, scaled so that divided maps have a mean of 1.

    Args:
        maps: `(N, h, w)`, held-out error maps of normal images.
        position_norm: The exponent of the profile, 0 to 1.
        prior: The expected error of an earlier fit, of `h * w` values; None if there was none.
        weights: `(1, h, w)` or `(N, h, w)`, of the cells; None if all count.

    Returns:
        `(h, w)`.
    """
    mean = maps.mean(dim=0)
    weight = torch.ones_like(mean) if weights is None else weights.to(maps).mean(dim=0)
    shares = weight / weight.sum()
    smooth = _blur(mean) / _blur(weight).clamp(min=_LEAST)
    # Without a floor, positions with almost no normal error would dominate the map.
    floor = 1e-3 * float((smooth * shares).sum())
    profile = smooth.clamp(min=floor) ** position_norm
    if prior is not None:
        share = len(maps) / (len(maps) + _PRIOR_IMAGES)
        earlier = prior.to(mean).view(mean.shape)
        profile, earlier = (p / (p * shares).sum() for p in (profile, earlier))
        profile = share * profile + (1 - share) * earlier
    return profile * ((mean / profile).sum() / weight.sum())


def _blur(values: Tensor) -> Tensor:
    """The mean of each cell `(h, w)` and its neighbours."""
    return F.avg_pool2d(values[None], 3, stride=1, padding=1, count_include_pad=False)[0]
