import pytest
import torch

from fre_lightning.backbones import Scattering


@pytest.mark.parametrize(
    ("is_grey", "colour"),
    [(True, True), (False, True), (False, False), (False, "averages"), (True, "averages")],
)
def test_real_arithmetic_gives_the_features_of_the_backbone(is_grey, colour):
    backbone = Scattering("scattering", "order2", (48, 72), 3, 4, colour, 0.001, 1, "cbrt")
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, 48, 72), generator=generator, dtype=torch.uint8)
    images[1] = (images[1] // 4).sort(dim=2).values  # with little but low frequencies
    if is_grey:
        images = images[:, :1].expand(-1, 3, -1, -1)
    (expected,) = backbone(images)
    backbone.prepare_export()
    (actual,) = backbone(images)
    highest = expected.abs().amax(dim=(0, 2, 3))
    difference = (actual - expected).abs().amax(dim=(0, 2, 3))
    assert (difference <= 1e-4 * highest).all()
    assert bool((highest == 0).any()) == is_grey  # grey has no colour, exactly
