"""The detector: backbone, reducers and scoring together, stored in checkpoints; plain torch."""

from fre_lightning.detector.detector import Detector, Outcome
from fre_lightning.detector.loading import load
from fre_lightning.detector.result import Box, DetectionResult

__all__ = ["Box", "DetectionResult", "Detector", "Outcome", "load"]
