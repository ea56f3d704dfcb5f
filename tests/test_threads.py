import itertools
import time

import pytest
import torch

from fre_lightning.threads import (
    default_n_threads,
    intra_op_threads,
    map_ahead,
    thread_pool,
    within_quota,
)


@pytest.mark.parametrize(
    ("value", "n_threads"), [("3", 3), ("3,1", 3), ("0", 1), ("", None), ("many", None)]
)
def test_what_a_launcher_leaves_to_a_process_counts(monkeypatch, value, n_threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    whole = default_n_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert default_n_threads() == (n_threads or whole)


def test_the_number_of_threads_is_given_back():
    before = torch.get_num_threads()
    with intra_op_threads(3), thread_pool(2) as pool:
        assert torch.get_num_threads() == 3
        assert list(pool.map(lambda _: torch.get_num_threads(), range(2))) == [1, 1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("files", "n_threads"),
    [
        ({}, 16),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu.max": "6400000 100000\n"}, 16),
        ({"cpu.max": "max 100000\n"}, 16),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
    ],
)
def test_the_quota_of_a_container_counts(tmp_path, files, n_threads):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert within_quota(16, tmp_path) == n_threads


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
