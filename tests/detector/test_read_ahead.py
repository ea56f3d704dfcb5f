"""Work done ahead: order, promptness, bounds, errors."""

import threading
from queue import SimpleQueue

import pytest

from fre_lightning.detector.read_ahead import read_ahead

SECONDS = 30  # after which a thread is taken to hang


class Source:
    """Items 0 to n - 1, and a way to wait until a number of them were drawn, or the end was."""

    def __init__(self, n):
        self.n, self.n_drawn, self.drawn = n, 0, threading.Condition()

    def __iter__(self):
        for i in range(self.n + 1):
            with self.drawn:
                self.n_drawn += 1
                self.drawn.notify_all()
            if i < self.n:
                yield i

    def wait(self, n_drawn):
        with self.drawn:
            assert self.drawn.wait_for(lambda: self.n_drawn >= n_drawn, SECONDS)


def test_all_items_come_in_order_whichever_is_ready_first():
    ready = [threading.Event() for _ in range(99)]

    def square(item):
        if item % 3 == 0:  # the next one overtakes it
            assert ready[item + 1].wait(SECONDS)
        ready[item].set()
        return item * item

    batches = read_ahead(square, range(99), 8, 3)
    seen = [(item, future.result(SECONDS)) for batch in batches for item, future in batch]
    assert seen == [(i, i * i) for i in range(99)]


def test_batches_fill_up_when_items_come_faster_than_they_are_used():
    source, sizes = Source(100), []
    for batch in read_ahead(str, source, 8, 3):
        used = sum(sizes)  # makes room for as many more than two batches
        sizes.append(len(batch))
        source.wait(min(used + 17, 101))  # all that there is room for stand in line
    assert sum(sizes) == 100
    assert set(sizes[1:-1]) == {8}
    assert max(sizes) == 8


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
    source, before = Source(1000), set(threading.enumerate())
    batches = read_ahead(str, source, 4, 2)
    next(batches)
    source.wait(9)  # the last is held until there is room
    feeds = [t for t in set(threading.enumerate()) - before if t.name == "feed"]
    batches.close()
    for feed in feeds:
        feed.join(SECONDS)
        assert not feed.is_alive()
    assert len(feeds) == 1
    assert source.n_drawn == 9


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
