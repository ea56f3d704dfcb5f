import pytest
from omegaconf import OmegaConf

from fre_lightning.errors import ConfigError
from fre_lightning.images.resizing import parse_image_size


@pytest.mark.parametrize(
    "image_size", [(12, 20), [12, 20], OmegaConf.create([12, 20])], ids=["tuple", "list", "config"]
)
def test_image_size_of_two(image_size):
    assert parse_image_size(image_size) == (12, 20)


def test_image_size_of_one():
    assert parse_image_size(7) == (7, 7)


@pytest.mark.parametrize("image_size", [0, -3, [8], [8, 8, 8], [8, 0], [8.0, 8], None, "8", True])
def test_bad_image_size(image_size):
    with pytest.raises(ConfigError, match=r"image_size must be .* got "):
        parse_image_size(image_size)
