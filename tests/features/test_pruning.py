import multiprocessing
import threading
from pathlib import Path

import numpy as np
import pytest

from fre_lightning.features.cache import CacheEntry, FeatureCache
from fre_lightning.features.inventory import StoredItem, take_inventory
from fre_lightning.features.locks import lock_of
from fre_lightning.features.pruning import RECENT, choose_to_remove, remove

NOW = 10**9
DAY = 86400


def make_item(name, days, n_bytes=10, *, is_locked=False):
    return StoredItem(Path(name), name, n_bytes=n_bytes, used=NOW - days * DAY, is_locked=is_locked)


ITEMS = [make_item("b", 20), make_item("a", 40), make_item("d", 0), make_item("c", 3)]


@pytest.mark.parametrize(
    ("max_days", "max_bytes", "going"),
    [
        (None, None, ""),
        (30, None, "a"),
        (40, None, ""),  # of just that age
        (2, None, "abc"),
        (None, 40, ""),
        (None, 39, "a"),
        (None, 15, "abc"),
        (None, 0, "abc"),  # d was used just now
        (0.5, 0, "abc"),
        (30, 20, "ab"),
        (30, 30, "a"),  # what goes for its age makes room
    ],
)
def test_what_goes(max_days, max_bytes, going):
    max_age = None if max_days is None else max_days * DAY
    chosen = choose_to_remove(ITEMS, NOW, max_age, max_bytes)
    assert "".join(item.name for item in chosen) == going


def test_what_is_locked_stays_and_others_go_for_it():
    items = [make_item("a", 40, is_locked=True), make_item("b", 20), make_item("c", 3)]
    assert choose_to_remove(items, NOW, 30 * DAY, None) == []
    assert [item.name for item in choose_to_remove(items, NOW, None, 20)] == ["b"]


def test_a_time_in_the_future_is_just_now():
    items = [make_item("future", -400), make_item("recent", RECENT / DAY / 2)]
    assert choose_to_remove(items, NOW, 30 * DAY, 0) == []


def test_chosen_by_size_no_more_goes_than_must():
    """Against the definition, on random items: the fewest of the least recently used ones."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        days = rng.permutation(np.arange(1, 8))
        items = [make_item(str(day), day, int(rng.integers(1, 9))) for day in days]
        total, limit = sum(item.n_bytes for item in items), int(rng.integers(0, 60))
        oldest = sorted(items, key=lambda item: -int(item.name))
        n = next(n for n in range(8) if total - sum(i.n_bytes for i in oldest[:n]) <= limit)
        assert choose_to_remove(items, NOW, None, limit) == oldest[:n]


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache", "float32")


def load(cache, compute=None):
    def append(writers):
        writers[0].append(np.arange(8, dtype=np.float32).reshape(4, 2), range(4))

    (rows,) = cache.load_or_compute([CacheEntry("part", {})], 4, compute or append)
    return rows


def test_rows_that_are_open_outlive_their_entry_and_the_next_run_computes_them(cache):
    rows = load(cache)
    (item,) = take_inventory(cache.cache_dir)
    assert remove(item.path)
    assert list(cache.cache_dir.iterdir()) == []  # the lock is gone, too
    np.testing.assert_array_equal(rows.shards[0], np.arange(8).reshape(4, 2))
    assert load(cache).was_computed


def hold(folder, is_held, may_end):
    with lock_of(folder):
        is_held.set()
        may_end.wait()


def test_what_a_process_has_locked_is_not_removed(cache):
    load(cache)
    (item,) = take_inventory(cache.cache_dir)
    context = multiprocessing.get_context("spawn")
    is_held, may_end = context.Event(), context.Event()
    process = context.Process(target=hold, args=(item.path, is_held, may_end))
    process.start()
    is_held.wait()
    assert not remove(item.path)
    may_end.set()
    process.join()
    assert not load(cache).was_computed
    assert remove(item.path)


def test_a_file(tmp_path):
    path = tmp_path / "network.zip"
    path.write_bytes(b"content")
    assert remove(path)
    assert list(tmp_path.iterdir()) == []


def test_many_readers_beside_one_that_removes(cache):
    """Each reader has the rows, read or computed, whatever moment the removal comes."""
    may_end = threading.Event()
    found = []

    def read():
        while not may_end.is_set():
            found.append(np.array(load(cache).shards[0]))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    n_removed = 0
    while n_removed < 30 and all(thread.is_alive() for thread in threads):
        for item in take_inventory(cache.cache_dir):
            n_removed += remove(item.path)
    may_end.set()
    for thread in threads:
        thread.join()
    assert n_removed >= 30
    for rows in found:
        np.testing.assert_array_equal(rows, np.arange(8).reshape(4, 2))
