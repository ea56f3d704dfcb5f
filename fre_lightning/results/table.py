"""The results of several runs as one table: names of variants, means, notes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import NamedTuple

from fre_lightning.metrics.info import METRICS
from fre_lightning.results.stored_run import GROUPS, StoredRun

MEAN = "mean"


class Mean(NamedTuple):
    """A mean over the categories that have a value.

    Attributes:
        value: The mean.
        n: The number of these categories.
        is_complete: Whether these are all categories.
    """

    value: float
    n: int
    is_complete: bool


@dataclass(frozen=True)
class ResultsTable:
    """Runs by category and variant.

    Attributes:
        runs: One row each.
        variants: The name of each run among those of its category; may be empty.
    """

    runs: Sequence[StoredRun]
    variants: Sequence[str]

    @property
    def metrics(self) -> list[str]:
        """The metrics that any run has."""
        return [name for name in METRICS if any(name in run.metrics for run in self.runs)]

    @property
    def categories(self) -> list[str]:
        """The categories, each once."""
        return list(dict.fromkeys(run.category for run in self.runs))

    def mean(self, variant: str, name: str) -> Mean | None:
        """The mean of a metric over the categories that a variant was run on."""
        values = {
            run.category: run.metrics[name]
            for run, own in zip(self.runs, self.variants, strict=True)
            if own == variant and name in run.metrics
        }
        if not values:
            return None
        return Mean(fmean(values.values()), len(values), len(values) == len(self.categories))

    @cached_property
    def notes(self) -> list[str]:
        """Sentences that a reader of the numbers must know."""
        notes = [
            f"{f'{run.category} {variant}'.strip()} failed: {run.error}"
            for run, variant in zip(self.runs, self.variants, strict=True)
            if run.error
        ]
        if any(str(run.metrics.get("weights", "")).startswith("random") for run in self.runs):
            notes.append(
                "The weights are random: these figures say nothing about a trained backbone."
            )
        return notes


def tabulate(runs: Sequence[StoredRun]) -> ResultsTable:
    """Name the variants of runs, and put both into a table."""
    return ResultsTable(runs, name_variants(runs))


def name_variants(runs: Sequence[StoredRun]) -> list[str]:
    """Name each run by the settings that differ, places excepted, or at last by its folder.

    Of a path only the last part is shown; groups need no key: `pca` for `reducer=pca`.
    """
    keys = dict.fromkeys(key for run in runs for key in run.settings if not _is_place(key))
    varying = [
        key
        for key in keys
        if len({run.settings.get(key) for run in runs if not (run.error and key in GROUPS)}) > 1
    ]
    names = [
        " ".join(
            ("" if key in GROUPS else f"{key}=") + run.settings[key].rpartition("/")[2]
            for key in varying
            if key in run.settings
        )
        for run in runs
    ]
    pairs = [(run.category, name) for run, name in zip(runs, names, strict=True)]
    return [
        name if pairs.count(pair) == 1 else f"{name} {run.folder.name}".strip()
        for run, name, pair in zip(runs, names, pairs, strict=True)
    ]


def _is_place(key: str) -> bool:
    return key in {"dataset", "dataset.root"} or key.startswith(("paths.", "hydra.", "logger"))
