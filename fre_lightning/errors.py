"""Errors that the user can fix. Each message says what is wrong and what to do next."""

import difflib
from collections.abc import Iterable


class FREError(Exception):
    """Base of all errors that the command line prints without a traceback, with exit code 2."""


class DatasetError(FREError):
    """The dataset's folder, category, masks or number of images are not as they should be."""


class UnreadableImageError(DatasetError):
    """An image file cannot be decoded."""


class BackboneError(FREError):
    """An unknown network or layer, or weights that are missing or do not fit."""


class FeatureError(FREError):
    """Features that no subspace can be learnt from: NaN, or too few images."""


class CacheError(FREError):
    """The feature cache cannot be written."""


class CheckpointError(FREError):
    """A checkpoint is missing or was not written by this program."""


class OutputError(FREError):
    """A run's results cannot be written."""


class ConfigError(FREError):
    """A configuration value that is out of range or contradicts another."""


class ReportError(FREError):
    """A report is asked for of what is no run, or of damaged files."""


class ExportError(FREError):
    """A detector that cannot be exported, or whose export does not give the same scores."""


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """A sentence, with a space before it, that lists the words most like one; or nothing."""
    matches = difflib.get_close_matches(word, [*words], n=5, cutoff=0.5)
    return f" Did you mean {', '.join(matches)}?" if matches else ""
