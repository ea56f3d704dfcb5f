import errno
import json
import logging
import shutil
import threading

import numpy as np
import pytest

from fre_lightning.errors import CacheError, ConfigError
from fre_lightning.features import shards
from fre_lightning.features.cache import CacheEntry, FeatureCache

ROWS = np.arange(10 * 6, dtype=np.float32).reshape(10, 2, 3)


class Source:
    """Computes ROWS three at a time, and can be told to stop or to leave some out."""

    def __init__(self, stop_before=None, skip=()):
        self.stop_before = stop_before
        self.skip = set(skip)
        self.computed = []

    def __call__(self, writers):
        (writer,) = writers.values()
        for start in range(0, len(writer.items), 3):
            items = writer.items[start : start + 3]
            if self.stop_before is not None and items[0] >= self.stop_before:
                raise KeyboardInterrupt
            indices = [i for i in items if i not in self.skip]
            self.computed += indices
            if indices:
                writer.append(ROWS[indices], indices)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_ROWS", 3)


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache", "float32")


def load(cache, source, key="key"):
    (rows,) = cache.load_or_compute([CacheEntry("part-train", {"key": key})], 10, source)
    return rows


def stored(rows):
    return np.concatenate(rows.shards)


def shard_paths(cache):
    return sorted(cache.cache_dir.glob("*/shard-*.npy"))


def test_a_second_read_computes_nothing(cache):
    first = load(cache, Source())
    source = Source()
    second = load(cache, source)
    assert (first.was_computed, second.was_computed, source.computed) == (True, False, [])
    np.testing.assert_array_equal(stored(second), ROWS)
    assert second.row_shape == (2, 3)
    assert all(isinstance(shard, np.memmap) for shard in second.shards)


def test_another_key_is_another_entry(cache):
    load(cache, Source())
    source = Source()
    load(cache, source, key="other")
    assert source.computed == list(range(10))


def test_a_stopped_computation_goes_on_after_the_last_shard(cache):
    with pytest.raises(KeyboardInterrupt):
        load(cache, Source(stop_before=6))
    half = shard_paths(cache)[0].with_name(".shard-00002.npy.1.tmp")  # as kill -9 would leave it
    half.write_bytes(b"half")
    source = Source()
    rows = load(cache, source)
    assert not half.exists()
    assert source.computed == [6, 7, 8, 9]
    np.testing.assert_array_equal(stored(rows), ROWS)


@pytest.mark.parametrize("skip", [[1], [8, 9], [0, 1, 2], [9, 0]])
def test_skipped_items_are_remembered(cache, skip):
    for rows in (load(cache, Source(skip=skip)), load(cache, Source())):
        assert rows.skipped == sorted(skip)
        assert rows.indices == [i for i in range(10) if i not in skip]
        np.testing.assert_array_equal(stored(rows), ROWS[rows.indices])


def test_nothing_readable(cache):
    with pytest.raises(CacheError, match="None of the images"):
        load(cache, Source(skip=range(10)))


def damage_length(path):
    path.write_bytes(path.read_bytes()[:-4])


def damage_content(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(content)


def remove(path):
    path.unlink()


def damage_manifest(path):
    (path.parent / "manifest.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        (damage_length, range(3, 6)),
        (damage_content, range(3, 6)),
        (remove, range(3, 6)),
        (damage_manifest, range(10)),
    ],
)
@pytest.mark.parametrize("is_moved", [False, True])  # moved, it is as new as in a fresh process
def test_damage_is_noticed_said_and_mended(cache, damage, lost, is_moved, caplog, tmp_path):
    for _ in range(2):  # read once, a shard counts as sound until it changes
        load(cache, Source())
    if is_moved:
        cache = FeatureCache(cache.cache_dir.rename(tmp_path / "moved"), "float32")
    damage(shard_paths(cache)[1])
    source = Source()
    with caplog.at_level(logging.WARNING):
        rows = load(cache, source)
    assert "damaged" in caplog.text
    assert source.computed == list(lost)
    np.testing.assert_array_equal(stored(rows), ROWS)


def test_a_full_disk_is_said_and_keeps_what_is_complete(cache, monkeypatch):
    real_save = np.save

    def save(stream, rows, **kwargs):
        if stream.name.endswith("tmp") and "shard-00006" in stream.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        real_save(stream, rows, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", save)
        with pytest.raises(CacheError, match=r"(?s)No space left.*paths\.cache_dir"):
            load(cache, Source())
    assert list(cache.cache_dir.glob("**/*.tmp")) == []
    source = Source()
    np.testing.assert_array_equal(stored(load(cache, source)), ROWS)
    assert source.computed == [6, 7, 8, 9]


def test_an_unwritable_cache(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match=r"paths\.cache_dir"):
        load(FeatureCache(tmp_path / "file" / "cache", "float32"), Source())


def test_no_temporary_files_stay(cache):
    load(cache, Source())
    assert list(cache.cache_dir.glob("**/*.tmp")) == []
    manifest = json.loads(next(cache.cache_dir.glob("*/manifest.json")).read_text())
    assert [shard["stop"] for shard in manifest["shards"]] == [3, 6, 9, 10]


def test_two_at_once_compute_it_once(cache):
    entered, sources, results = threading.Event(), [], []

    class Slow(Source):
        def __call__(self, writers):
            entered.set()
            super().__call__(writers)

    def work():
        source = Slow()
        sources.append(source)
        results.append(load(FeatureCache(cache.cache_dir, cache.dtype), source))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert entered.is_set()
    assert sum(len(source.computed) for source in sources) == 10
    for rows in results:
        np.testing.assert_array_equal(stored(rows), ROWS)


def test_entries_of_the_same_items_are_completed_together(cache):
    """The second entry is new, the first was stopped half-way: what is missing is computed once."""

    def load_both(compute, names):
        entries = [CacheEntry(f"part-{name}", {"layer": name}) for name in names]
        return cache.load_or_compute(entries, 10, compute)

    with pytest.raises(KeyboardInterrupt):
        load_both(Source(stop_before=6), ["a"])
    seen = {}

    def compute(writers):
        seen.update({index: writer.items[0] for index, writer in writers.items()})
        for start in range(min(seen.values()), 10, 2):
            indices = [start, start + 1]
            for index, writer in writers.items():
                writer.append(ROWS[indices] + 100 * index, indices)

    first, second = load_both(compute, ["a", "b"])
    assert seen == {0: 6, 1: 0}
    np.testing.assert_array_equal(stored(first), ROWS)
    np.testing.assert_array_equal(stored(second), ROWS + 100)
    third = load_both(pytest.fail, ["b", "a"])
    np.testing.assert_array_equal(stored(third[0]), ROWS + 100)


def test_its_size_is_told_once_it_is_large(cache, caplog):
    caplog.set_level(logging.INFO)
    cache.cache_dir.mkdir(parents=True, exist_ok=True)
    (cache.cache_dir / "part").mkdir()
    (cache.cache_dir / "part" / "shard.npy").write_bytes(bytes(2_000))
    (cache.cache_dir / "other.npy").write_bytes(bytes(3_000))
    cache.log_size(5_001)
    assert not caplog.messages
    cache.log_size(5_000)
    assert f"The feature cache {cache.cache_dir} takes" in caplog.text


@pytest.mark.parametrize("deleted_at", [0, 6])
def test_a_cache_that_is_deleted_while_it_is_written_is_computed_once_more(
    cache, deleted_at, caplog
):
    """The second try is not disturbed; what others write there meanwhile stays."""
    source, others = Source(), cache.cache_dir / "others"

    def compute(writers):
        (writer,) = writers.values()
        for start in range(writer.items[0], 10, 3):
            indices = list(range(start, min(start + 3, 10)))
            if start == deleted_at and not others.exists():
                shutil.rmtree(cache.cache_dir)
                others.mkdir(parents=True)
            source.computed += indices
            writer.append(ROWS[indices], indices)

    rows = load(cache, compute)
    np.testing.assert_array_equal(stored(rows), ROWS)
    assert source.computed[-10:] == list(range(10))
    assert "deleted meanwhile" in caplog.text
    assert others.is_dir()
    assert not load(cache, pytest.fail).was_computed


def test_a_cache_that_is_deleted_each_time_is_told(cache):
    def compute(writers):
        shutil.rmtree(cache.cache_dir)
        writers[0].append(ROWS, range(10))

    with pytest.raises(CacheError, match="No such file"):
        load(cache, compute)


def test_whole_entries_are_read_where_nothing_can_be_written(cache, monkeypatch):
    load(cache, Source())

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(shards, "replacing", refuse)
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    monkeypatch.setattr("os.utime", refuse)
    monkeypatch.setattr("os.access", lambda *_: False)
    np.testing.assert_array_equal(stored(load(cache, pytest.fail)), ROWS)
    with pytest.raises(CacheError, match="Read-only"):
        load(cache, Source(), key="other")


def test_a_lock_that_cannot_be_taken_where_one_can_write_is_told(cache, monkeypatch):
    """Another user's: without it two processes would write."""
    load(cache, Source())

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.raises(CacheError, match="Permission denied"):
        load(cache, pytest.fail)


def test_an_unknown_type(tmp_path):
    with pytest.raises(ConfigError, match="float32 or float16"):
        FeatureCache(tmp_path, "int8")
