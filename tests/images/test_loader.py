import numpy as np
import pytest
import torch
from PIL import Image

from fre_lightning.datasets import Sample
from fre_lightning.errors import UnreadableImageError
from fre_lightning.images.loader import ImageLoader
from fre_lightning.images.reading import read_image


@pytest.fixture
def samples(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i:02d}.png" for i in range(11)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    return [Sample(path) for path in paths]


def load(samples, **options):
    options = {"batch_size": 4, "n_threads": 3} | options
    return ImageLoader(samples, (8, 12), **options)


@pytest.mark.parametrize("first", [0, 4, 10])
def test_images_come_in_order(samples, first):
    loader = load(samples, indices=range(first, 11))
    batches = list(loader)
    assert [i for batch in batches for i in batch.indices] == list(range(first, 11))
    assert len(batches) == len(loader)
    expected = torch.stack([read_image(sample.path, (8, 12)) for sample in samples[first:]])
    torch.testing.assert_close(torch.cat([batch.images for batch in batches]), expected)
    assert batches[0].images.dtype == torch.uint8


def test_an_unreadable_image_is_an_error_unless_skipped(samples, caplog):
    for i in (0, 4, 5, 6, 7):
        samples[i].path.write_text("no image")
    with pytest.raises(UnreadableImageError, match=r"00\.png"):
        list(load(samples))
    batches = list(load(samples, skip_unreadable=True))
    assert [batch.indices for batch in batches] == [[1, 2, 3], [8, 9, 10]]
    assert caplog.text.count("Left out") == 5


def test_it_reads_ahead_but_not_everything(samples):
    read = []

    def reader(path, size, _):
        read.append(path)
        return torch.zeros(3, *size, dtype=torch.uint8)

    batches = iter(load(samples, batch_size=2, read=reader))
    next(batches)
    batches.close()
    assert 2 <= len(read) <= 6
