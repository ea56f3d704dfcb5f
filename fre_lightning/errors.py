"""Errors of the user's making. Each message says what is wrong and what to do next."""


class FREError(Exception):
    """Base of all errors that the command line prints without a traceback, with exit code 2."""

    @property
    def summary(self) -> str:
        """The first sentence of the message: what is wrong, without the advice."""
        return str(self).partition(". ")[0]


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
