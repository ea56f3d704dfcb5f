"""What the processes of one run do together: they divide work, and add up or share its results.

Alone, a process has all of the work, and sums are its own. All processes must come to the same
calls in the same order.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from fre_lightning.errors import FREError

Item = TypeVar("Item")
Value = TypeVar("Value")


class LostProcessError(FREError):
    """Another process of this run has ended early."""


def n_processes() -> int:
    """The number of processes of this run."""
    return distributed.get_world_size() if _is_joined() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return distributed.get_rank() if _is_joined() else 0


def part_of(n_items: int) -> slice:
    """This process's part of so many items. In the order of ranks, parts are the items again."""
    return slice(*(n_items * (rank() + i) // n_processes() for i in (0, 1)))


def share(items: Sequence[Item]) -> Sequence[Item]:
    """This process's part of the items, see `part_of`."""
    return items[part_of(len(items))]


def add_up(tensor: Tensor) -> Tensor:
    """Replace a tensor by its sum over all processes, the same to the bit in each; return it."""
    if n_processes() > 1:
        with _talk():
            distributed.all_reduce(tensor)
    return tensor


def gather(value: Value) -> list[Value]:
    """The values of all processes, by rank; what they have of tensors lies on the CPU."""
    if n_processes() == 1:
        return [value]
    values: list[Any] = [None] * n_processes()
    with _talk():
        distributed.all_gather_object(values, value)
    return values


@contextmanager
def together() -> Iterator[None]:
    """Wait for all processes at the end of the body; the first error in one is raised in all.

    Raises:
        FREError: The error. Others end the process, and with it the run.
    """
    own: FREError | None = None
    try:
        yield
    except LostProcessError:
        raise
    except FREError as error:
        own = error
    for found in gather(own):
        if found is not None:
            raise found


def from_first(function: Callable[[], Value]) -> Value:
    """Call a function in the first process alone, and return its value in all.

    Raises:
        FREError: In all processes, if the function raises one.
    """
    if n_processes() == 1:
        return function()
    value: list[Any] = [None]
    with together():
        if rank() == 0:
            value = [function()]
    with _talk():
        distributed.broadcast_object_list(value)
    found: Value = value[0]
    return found


def tensors_from_first(
    function: Callable[[], tuple[Tensor, ...]], device: torch.device
) -> tuple[Tensor, ...]:
    """As `from_first`, of large tensors: all get the same numbers, whatever their processors.

    Args:
        function: Returns tensors on `device`.
        device: Where they come to lie.
    """
    if n_processes() == 1:
        return function()
    tensors: tuple[Tensor, ...] = ()

    def describe() -> list[tuple[torch.Size, torch.dtype]]:
        nonlocal tensors
        tensors = tuple(tensor.contiguous() for tensor in function())
        return [(tensor.shape, tensor.dtype) for tensor in tensors]

    forms = from_first(describe)
    tensors = tensors or tuple(torch.empty(*s, dtype=dtype, device=device) for s, dtype in forms)
    with _talk():
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)
    return tensors


def _is_joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


@contextmanager
def _talk() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        msg = (
            "Another process of this run has ended early. Start the same command again: it goes on "
            "with the features that were extracted."
        )
        raise LostProcessError(msg) from error
