"""The progress bar, in this program's words."""

import sys
from typing import Any

from pytorch_lightning.callbacks import TQDMProgressBar


class ProgressBar(TQDMProgressBar):
    """Lightning's bar; what it calls predicting and testing is extracting and scoring here."""

    def __init__(self) -> None:
        """Draw on terminals only: in a log file a bar is a line per batch."""
        super().__init__(refresh_rate=int(sys.stderr.isatty()))

    def on_train_epoch_start(self, *args: Any, **kwargs: Any) -> None:
        """Start the bar; what Lightning takes for one epoch are all of the reducer's."""
        super().on_train_epoch_start(*args, **kwargs)
        self.train_progress_bar.set_description("Training")

    @property
    def predict_description(self) -> str:
        """What the bar of `predict` is called."""
        return "Extracting features"

    @property
    def test_description(self) -> str:
        """What the bar of `test` is called."""
        return "Scoring"

    def on_predict_batch_start(self, *args: Any, **kwargs: Any) -> None:
        """Start the bar, without the data loader's number behind its name."""
        super().on_predict_batch_start(*args, **kwargs)
        self.predict_progress_bar.set_description(self.predict_description)

    def on_test_batch_start(self, *args: Any, **kwargs: Any) -> None:
        """Start the bar, without the data loader's number behind its name."""
        super().on_test_batch_start(*args, **kwargs)
        self.test_progress_bar.set_description(self.test_description)
