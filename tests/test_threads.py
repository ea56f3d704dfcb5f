import itertools
import time

import pytest
import torch

from fre_lightning.threads import intra_op_threads, map_ahead, thread_pool


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
