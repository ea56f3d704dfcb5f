"""One part of the images, for job arrays: parts are disjoint, and together they are all images."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Self

from fre_lightning.errors import ConfigError
from fre_lightning.rank import rank_and_number

ImagePath = str | os.PathLike[str]


class Shard(NamedTuple):
    """The part `number` of `n_parts`, from 1 on.

    A path alone decides which part it belongs to, so that parts also fit together if images come
    and go while jobs wait to start.
    """

    number: int
    n_parts: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The shard that a setting such as `1/4` names; `auto` is that of torchrun or srun.

        Raises:
            ConfigError: If it names none.
        """
        if text == "auto":
            rank, n_processes = rank_and_number()
            return cls(rank + 1, n_processes)
        match = re.fullmatch(r"(\d+)/(\d+)", str(text))
        shard = cls(*map(int, match.groups())) if match else None
        if shard is None or not 1 <= shard.number <= shard.n_parts:
            msg = (
                f"shard={text} must be i/n, with i from 1 to n: 1/4 is the first part of four. "
                "Under torchrun and srun it may be auto."
            )
            raise ConfigError(msg)
        return shard

    def select(self, paths: Iterable[ImagePath]) -> Iterator[ImagePath]:
        """Yield the paths of this part, in order."""
        return (path for path in paths if _hash(path) % self.n_parts == self.number - 1)

    def name(self, file: str) -> str:
        """The name of a part's file: `predictions-1-of-4.csv` for `predictions.csv`."""
        stem, suffix = os.path.splitext(file)  # noqa: PTH122 - a name, not a path
        return f"{stem}-{self.number}-of-{self.n_parts}{suffix}"


def _hash(path: ImagePath) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(path), digest_size=8).digest())
