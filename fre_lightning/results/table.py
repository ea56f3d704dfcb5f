"""The results of several runs as one table: names of variants, means, notes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from fre_lightning.metrics.info import METRICS
from fre_lightning.results.stored_run import GROUPS, StoredRun

MEAN = "mean"


@dataclass(frozen=True)
class ResultsTable:
    """Runs by category and variant, a row each."""

    runs: Sequence[StoredRun]

    @cached_property
    def variants(self) -> list[str]:
        """The name of each run among those of its category; may be empty.

        It is the settings that differ, but for places and `resume`, or at last the folder. Of a
        path only the last part is shown; groups need no key: `pca` for `reducer=pca`.
        """
        keys = dict.fromkeys(key for run in self.runs for key in run.settings if not _is_place(key))
        varying = [
            key
            for key in keys
            if len({r.settings.get(key) for r in self.runs if not (r.error and key in GROUPS)}) > 1
        ]
        names = [
            " ".join(
                ("" if key in GROUPS else f"{key}=") + run.settings[key].rpartition("/")[2]
                for key in varying
                if key in run.settings
            )
            for run in self.runs
        ]
        pairs = [(run.category, name) for run, name in zip(self.runs, names, strict=True)]
        return [
            name if pairs.count(pair) == 1 else f"{name} {run.folder.name}".strip()
            for run, name, pair in zip(self.runs, names, pairs, strict=True)
        ]

    @property
    def metrics(self) -> list[str]:
        """The metrics that any run has."""
        return [name for name in METRICS if any(name in run.metrics for run in self.runs)]

    @property
    def categories(self) -> list[str]:
        """The categories, each once."""
        return list(dict.fromkeys(run.category for run in self.runs))

    def mean(self, variant: str, name: str) -> tuple[float, int] | None:
        """The mean of a variant's metric over the categories that have it, and their number."""
        values = {
            run.category: run.metrics[name]
            for run, own in zip(self.runs, self.variants, strict=True)
            if own == variant and name in run.metrics
        }
        return (fmean(values.values()), len(values)) if values else None

    @cached_property
    def notes(self) -> list[str]:
        """Sentences that a reader of the numbers must know."""
        notes = [
            f"{f'{run.category} {variant}'.strip()} failed: {run.error}"
            for run, variant in zip(self.runs, self.variants, strict=True)
            if run.error
        ]
        if any(str(run.metrics.get("weights", "")).startswith("random") for run in self.runs):
            reason = "these figures say nothing about a trained backbone"
            notes.append(f"The weights are random: {reason}.")
        return notes


def _is_place(key: str) -> bool:
    return key in {"dataset", "dataset.root", "resume"} or key.startswith(
        ("paths.", "hydra.", "logger")
    )
