"""Memory that a runtime keeps of each size, on runtimes that keep a known amount."""

import numpy as np
import pytest

from fre_lightning.export import memory

IMAGE = np.zeros((80, 90, 3), np.uint8)


@pytest.mark.skipif(not memory._STATUS.is_file(), reason="measured on Linux only")
def test_what_a_runtime_keeps_is_measured():
    kept = []

    def forgets_nothing(images):
        kept.append(np.ones(10_000_000, np.uint8))
        return images, images

    found = memory.memory_per_size(forgets_nothing, IMAGE)
    assert found == pytest.approx(10, abs=2)
    assert memory.memory_per_size(lambda images: (images, images), IMAGE) < 2


def test_each_size_is_another():
    sizes = []
    memory.memory_per_size(lambda images: sizes.append(images.shape) or (images, images), IMAGE)
    assert len(set(sizes)) == len(sizes)


def test_images_too_small_to_cut_are_not_measured():
    assert memory.memory_per_size(lambda images: (images, images), IMAGE[:20]) is None
