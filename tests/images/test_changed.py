import numpy as np
import pytest
import torch
from PIL import Image

from fre_lightning.datasets import Sample
from fre_lightning.images.changed import PerturbedImages
from fre_lightning.images.loader import ImageLoader


@pytest.fixture
def paths(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(7):
        pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return sorted(tmp_path.iterdir())


def load(paths, batch_size=4, **options):
    loader = ImageLoader([Sample(path) for path in paths], (8, 12), batch_size, 3, **options)
    return torch.cat([batch.images for batch in loader])


def test_images_are_spoilt_the_same_way_in_any_batch(paths):
    noise = PerturbedImages(paths, "noise 20")
    spoilt = load(paths, read=noise)
    assert torch.equal(spoilt, load(paths, batch_size=3, read=noise))
    plain = load(paths)
    assert not torch.equal(plain, spoilt)
    inverted = load(paths, read=PerturbedImages(paths, "inverted"))
    assert (inverted.int() + plain.int() - 255).abs().max() <= 1  # within rounding
