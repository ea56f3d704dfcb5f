"""Work done ahead: order, promptness, bounds, errors."""

import threading
import time
from queue import SimpleQueue

import pytest

from fre_lightning.detector.read_ahead import read_ahead


def test_all_items_come_in_order_and_batches_fill_up():
    def slow_at_times(item):
        time.sleep(0.002 * (item % 3))
        return item * item

    sizes, seen = [], []
    for batch in read_ahead(slow_at_times, range(100), 8, 3):
        time.sleep(0.01)
        sizes.append(len(batch))
        seen += [(item, future.result()) for item, future in batch]
    assert seen == [(i, i * i) for i in range(100)]
    assert max(sizes) == 8
    assert sizes.count(8) >= 8


def test_an_item_that_comes_alone_waits_for_no_other():
    source = SimpleQueue()
    batches = read_ahead(str, iter(source.get, None), 8, 2)
    for item in (1, 2, 3):
        source.put(item)
        [(got, future)] = next(batches)
        assert (got, future.result()) == (item, str(item))
    source.put(None)
    assert list(batches) == []


def test_no_more_than_two_batches_are_ahead():
    drawn = []

    def items():
        for i in range(1000):
            drawn.append(i)
            yield i

    batches = read_ahead(str, items(), 4, 2)
    next(batches)
    time.sleep(0.2)
    assert len(drawn) <= 9  # the last is held until there is room
    batches.close()
    time.sleep(0.05)
    assert len(drawn) <= 10
    assert not any(t.name == "feed" and t.is_alive() for t in threading.enumerate())


def test_an_error_of_the_items_is_raised_after_those_before_it():
    def items():
        yield 1
        yield 2
        raise OSError("gone")

    seen = []
    with pytest.raises(OSError, match="gone"):
        seen.extend(item for batch in read_ahead(str, items(), 4, 2) for item, _ in batch)
    assert seen == [1, 2]


def test_an_error_of_the_function_stays_with_its_item():
    errors = [
        type(future.exception())
        for batch in read_ahead(lambda x: 1 // x, [1, 0, 1], 4, 1)
        for _, future in batch
    ]
    assert errors == [type(None), ZeroDivisionError, type(None)]
