import itertools
import threading
import time

import pytest
import torch

from fre_lightning.threads import ImageParallel, intra_op_threads, map_ahead, thread_pool


def test_images_keep_their_order_and_their_values():
    images = torch.arange(11.0).view(11, 1)

    def slow_first(part):
        time.sleep(0.02 if part[0] == 0 else 0)
        return [part * 2, -part]

    parallel = ImageParallel(slow_first, n_threads=3, n_together=2)
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
    parallel = ImageParallel(look, n_threads=2, n_together=1)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        parallel(torch.zeros(4, 1))
    parallel.close()
    assert threading.get_ident() not in {ident for ident, *_ in seen}
    assert {rest[1:] for rest in seen} == {(1, True, torch.bfloat16, True)}
    assert torch.get_num_threads() == before


def test_an_error_in_a_thread_is_the_callers():
    def fail(part):
        raise ValueError("broken")

    parallel = ImageParallel(fail, n_threads=2, n_together=1)
    with pytest.raises(ValueError, match="broken"):
        parallel(torch.zeros(2, 1))
    parallel.close()


def test_the_number_of_threads_is_given_back():
    before = torch.get_num_threads()
    with intra_op_threads(3), thread_pool(2) as pool:
        assert torch.get_num_threads() == 3
        assert list(pool.map(lambda _: torch.get_num_threads(), range(2))) == [1, 1]
    assert torch.get_num_threads() == before


def test_values_come_in_order_and_items_are_drawn_a_little_ahead():
    drawn = []
    items = (drawn.append(i) or i for i in itertools.count())
    with thread_pool(3) as pool:
        values = map_ahead(pool, lambda i: time.sleep(0.01 * (i % 3 == 0)) or i * i, items, 4)
        assert [next(values) for _ in range(6)] == [0, 1, 4, 9, 16, 25]
        assert len(drawn) == 6 + 4
        assert list(map_ahead(pool, abs, [-1, -2], 4)) == [1, 2]


def test_an_error_comes_in_the_place_of_its_value():
    with thread_pool(2) as pool:
        values = map_ahead(pool, lambda i: 1 / i, [1, 2, 0, 3], 2)
        assert [next(values), next(values)] == [1, 0.5]
        with pytest.raises(ZeroDivisionError):
            next(values)
