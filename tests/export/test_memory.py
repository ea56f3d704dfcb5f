"""Memory that a runtime keeps of each size, on runtimes that keep a known amount."""

import numpy as np
import pytest

from fre_lightning.export import memory

IMAGE = np.zeros((80, 90, 3), np.uint8)


on_linux = pytest.mark.skipif(not memory._STATUS.is_file(), reason="measured on Linux only")


@on_linux
@pytest.mark.parametrize(("per_size", "expected"), [(10.0, 10.0), (0.0, 0.0), (-1.0, 0.0)])
def test_what_a_runtime_keeps_of_each_size_is_said(per_size, expected, monkeypatch):
    resident = [200.0]

    def keeps(images):
        warm_up = 50.0 if len(resident) < 4 else 0.0  # the first half of the sizes does not count
        resident.append(resident[-1] + per_size + warm_up)
        return images, images

    monkeypatch.setattr(memory, "_resident_megabytes", lambda: resident[-1])
    assert memory.memory_per_size(keeps, IMAGE) == pytest.approx(expected)


@on_linux
def test_memory_of_the_process_is_counted_in_megabytes():
    before = memory._resident_megabytes()
    kept = np.ones(500_000_000, np.uint8)
    assert 300 < memory._resident_megabytes() - before < 700
    del kept


def test_each_size_is_another():
    sizes = []
    memory.memory_per_size(lambda images: sizes.append(images.shape) or (images, images), IMAGE)
    assert len(set(sizes)) == len(sizes)


def test_images_too_small_to_cut_are_not_measured():
    assert memory.memory_per_size(lambda images: (images, images), IMAGE[:20]) is None
