"""Entries that several processes write: their manifests, gaps that killed ones leave."""

import json

import numpy as np
import pytest

from fre_lightning.features import shards
from fre_lightning.features.shards import Manifest, ShardWriter, read_manifest, write_united

N = 20
ROWS = np.arange(N * 2, dtype=np.float32).reshape(N, 2)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_ROWS", 3)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "entry"


def write(folder, items, process=None, n=N, batch=4, skip=(), closes=True):
    """Write the rows of items, or of the first n as a process that is killed then."""
    writer = ShardWriter(folder, read(folder), items, process)
    items = list(items)[:n]
    for start in range(0, len(items), batch):
        indices = [item for item in items[start : start + batch] if item not in skip]
        if indices:
            writer.append(ROWS[indices], indices)
    if closes:
        writer.close()
    return writer


def read(folder):
    return read_manifest(folder, Manifest({"key": 1}, N)) if folder.exists() else Manifest({}, N)


def stored(folder, manifest):
    parts = [np.load(folder / shard.file) for shard in manifest.shards if shard.file]
    return np.concatenate(parts)


def test_what_two_processes_wrote_is_one_entry(folder):
    first, second = Manifest({"key": 1}, N), Manifest({"key": 1}, N)
    writers = [
        ShardWriter(folder, first, range(9), 0),
        ShardWriter(folder, second, range(9, N), 1),
    ]
    for writer in reversed(writers):
        writer.append(ROWS[list(writer.items)], list(writer.items))
        writer.close()
    first.unite(writer.shards for writer in writers)
    write_united(folder, first)
    assert [path.name for path in folder.glob("manifest*")] == ["manifest.json"]
    assert not read(folder).missing()
    np.testing.assert_array_equal(stored(folder, read(folder)), ROWS)


@pytest.mark.parametrize("n_next", [1, 2, 3])
def test_killed_processes_are_continued_by_any_number(folder, n_next):
    killed = [
        ShardWriter(folder, Manifest({"key": 1}, N), range(10 * i, 10 * i + 10), i) for i in (0, 1)
    ]
    for writer, n in zip(killed, (4, 7), strict=True):  # of which 3 and 6 are in whole shards
        for item in list(writer.items)[:n]:
            writer.append(ROWS[[item]], [item])
    missing = read(folder).missing()
    assert missing == [*range(3, 10), *range(16, 20)]
    for i in range(n_next):
        part = missing[len(missing) * i // n_next : len(missing) * (i + 1) // n_next]
        writer = ShardWriter(folder, read(folder), part, i if n_next > 1 else None)
        writer.append(ROWS[part], part)
        writer.close()
    assert not read(folder).missing()
    np.testing.assert_array_equal(stored(folder, read(folder)), ROWS)
    assert len(list(folder.glob("manifest*"))) == 1


def test_rows_of_a_batch_that_spans_a_gap(folder):
    items = [2, 3, 4, 9, 10, 15]
    writer = ShardWriter(folder, Manifest({}, N), items)
    writer.append(ROWS, list(range(N)))  # also rows that are not wanted
    writer.close()
    manifest = read(folder)
    assert [(shard.first, shard.stop) for shard in manifest.shards] == [(2, 5), (9, 11), (15, 16)]
    np.testing.assert_array_equal(stored(folder, manifest), ROWS[items])


def test_items_without_rows(folder):
    unreadable = {0, 1, 5, 18, 19}
    write(folder, range(N), skip=unreadable)
    manifest = read(folder)
    assert not manifest.missing()
    assert {item for shard in manifest.shards for item in shard.skipped} == unreadable
    np.testing.assert_array_equal(
        stored(folder, manifest), ROWS[[i for i in range(N) if i not in unreadable]]
    )


def test_nothing_but_items_without_rows(folder):
    write(folder, range(N), skip=set(range(N)))
    manifest = read(folder)
    assert not manifest.missing()
    assert [shard.file for shard in manifest.shards] == [""]


def test_files_of_the_same_rows_are_not_read(folder, caplog):
    write(folder, range(N))
    other = json.loads((folder / "manifest.json").read_text())
    other["shards"] = [other["shards"][0] | {"first": 1, "stop": 4}]
    (folder / "manifest-1.json").write_text(json.dumps(other))
    assert read(folder).shards == []
    assert "same rows" in caplog.text
    assert not folder.exists()
