import threading
import time

import pytest
import torch

from fre_lightning.backbones.extractor import ImageParallel


def test_images_keep_their_order_and_their_values():
    images = torch.arange(11.0).view(11, 1)

    def slow_first(part):
        time.sleep(0.02 if part[0] == 0 else 0)
        return [part * 2, -part]

    parallel = ImageParallel(slow_first, n_threads=3, images_per_thread=2)
    doubled, negated = parallel(images)
    assert torch.equal(doubled, images * 2)
    assert torch.equal(negated, -images)
    parallel.close()


def test_each_thread_computes_on_one_core_under_the_callers_precision():
    seen = []

    def look(part):
        mixed = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
        seen.append((threading.get_ident(), torch.get_num_threads(), *mixed, part.is_inference()))
        return [part]

    before = torch.get_num_threads()
    parallel = ImageParallel(look, n_threads=2, images_per_thread=1)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        parallel(torch.zeros(4, 1))
    parallel.close()
    assert threading.get_ident() not in {ident for ident, *_ in seen}
    assert {rest[1:] for rest in seen} == {(1, True, torch.bfloat16, True)}
    assert torch.get_num_threads() == before


def test_an_error_in_a_thread_is_the_callers():
    def fail(part):
        raise ValueError("broken")

    parallel = ImageParallel(fail, n_threads=2, images_per_thread=1)
    with pytest.raises(ValueError, match="broken"):
        parallel(torch.zeros(2, 1))
    parallel.close()
