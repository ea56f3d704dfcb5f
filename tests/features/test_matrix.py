from pathlib import Path

import numpy as np
import pytest
import torch

from fre_lightning.features.matrix import FeatureMatrix

ROWS = np.arange(7 * 6, dtype=np.float32).reshape(7, 2, 3)


@pytest.fixture
def matrix():
    return FeatureMatrix([ROWS[:3], ROWS[3:4], ROWS[4:]])


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(slice(None), slice(None)), (slice(2, 5), slice(1, 4)), (slice(3, 4), slice(None, 2))],
)
def test_blocks_are_those_of_the_whole_matrix(matrix, rows, columns):
    expected = torch.from_numpy(ROWS.reshape(7, 6)[rows, columns])
    torch.testing.assert_close(matrix.block(rows, columns), expected)
    assert matrix.shape == (7, 6)


@pytest.mark.parametrize("block_bytes", [1, 50, 10**6])
def test_row_and_column_blocks_cover_everything_once(block_bytes):
    matrix = FeatureMatrix([ROWS[:3], ROWS[3:4], ROWS[4:]], block_bytes=block_bytes)
    rows = torch.cat([block for _, block in matrix.row_blocks()])
    columns = torch.cat([block for _, block in matrix.column_blocks()], dim=1)
    expected = torch.from_numpy(ROWS.reshape(7, 6))
    torch.testing.assert_close(rows, expected)
    torch.testing.assert_close(columns, expected)


def test_transform_knows_its_columns_and_leaves_the_data_alone(matrix):
    scale = torch.arange(6.0)
    shards = [ROWS[:3], ROWS[3:]]
    scaled = FeatureMatrix(
        shards, lambda block, first: block * scale[first:][: block.shape[1]], block_bytes=60
    )
    columns = torch.cat([block for _, block in scaled.column_blocks()], dim=1)
    torch.testing.assert_close(columns, torch.from_numpy(ROWS.reshape(7, 6)) * scale)
    torch.testing.assert_close(matrix.block(slice(None)), torch.from_numpy(ROWS.reshape(7, 6)))


class CountedRows:
    """Rows that note which of them are read."""

    def __init__(self, array):
        self.array, self.shape, self.read = array, array.shape, []

    def __getitem__(self, block):
        self.read += range(*block[0].indices(len(self.array)))
        return self.array[block]


@pytest.mark.parametrize("block_bytes", [1, 50, 10**6])
@pytest.mark.parametrize("chosen", [[0, 2, 3, 6], [1], [4, 5, 6], range(7), []])
def test_chosen_rows_alone_are_read(chosen, block_bytes):
    array, scale, mean = ROWS.reshape(7, 6), torch.arange(6.0), torch.full((6,), 0.5)
    shards = [CountedRows(part) for part in (array[:3], array[3:3], array[3:4], array[4:])]
    matrix = FeatureMatrix(shards, lambda block, _: block * scale)
    is_chosen = torch.zeros(7, dtype=torch.bool)
    is_chosen[list(chosen)] = True
    blocks = list(matrix.rows_of(is_chosen, mean.double(), block_bytes))
    assert [int(i) for index, _ in blocks for i in index] == list(chosen)
    for index, values in blocks:
        assert len(values) <= max(block_bytes // 24, 1)
        torch.testing.assert_close(values, (torch.from_numpy(array)[index] * scale - 0.5).double())
    read = [
        row + start for shard, start in zip(shards, (0, 3, 3, 4), strict=True) for row in shard.read
    ]
    assert sorted(read) == list(chosen)


def mapped_megabytes():
    status = Path("/proc/self/status").read_text()
    return next(int(s.split()[1]) for s in status.splitlines() if s.startswith("RssFile")) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="not Linux")
def test_what_was_read_of_a_mapped_file_does_not_stay_in_memory(tmp_path):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((2**10, 2, 2**13), np.float32))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")  # 64 MB
    shards = [mapped[:500], mapped[500:]]
    matrix = FeatureMatrix(shards, lambda block, _: block + 1, block_bytes=2**20)
    before, total = mapped_megabytes(), 0.0
    for _, block in matrix.row_blocks():
        total += float(block.double().sum())
    assert mapped_megabytes() - before < 8
    assert total == pytest.approx(float(mapped.sum(dtype=np.float64)) + mapped.size)
    assert mapped_megabytes() - before > 32  # the measure is sound
