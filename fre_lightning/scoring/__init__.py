"""Scoring: from error maps to image scores, anomaly maps and thresholds."""

from fre_lightning.scoring.calibration import Calibration
from fre_lightning.scoring.rule import Scoring

__all__ = ["Calibration", "Scoring"]
