from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fre_lightning.errors import ConfigError
from fre_lightning.export.samples import load_samples


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for level, name in enumerate((".hidden.png", "a.png", "sub/b.png", ".git/c.png", "sub/d.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 3), level).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    ("images", "expected"),
    [("", [1, 2, 4]), ("*", [1]), ("**/*.png", [1, 2, 4]), ("sub/b.png", [2])],
)
def test_images_of_folders_and_globs(folder: Path, images: str, expected: list[int]) -> None:
    _, samples = load_samples(str(folder / images), folder, 10)
    assert [np.unique(image).tolist() for image in samples] == [[i] for i in expected]
    assert samples[0].shape == (3, 4, 3)


def test_no_images(folder: Path) -> None:
    with pytest.raises(ConfigError, match="there are no images"):
        load_samples(str(folder / ".git" / "*.jpg"), folder, 10)
