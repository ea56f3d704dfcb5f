"""Training of a classifier on images that fit into memory."""

import logging
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from fre_lightning.errors import ConfigError

log = logging.getLogger(__name__)


class ClassifierModule(LightningModule):
    """A network that learns classes by cross-entropy, its learning rate in one cycle.

    Args:
        network: Maps normalised images `(N, 3, H, W)` to logits.
        lr: The highest learning rate of AdamW.
        weight_decay: AdamW's.
        n_steps: The number of steps.
    """

    def __init__(self, network: nn.Module, lr: float, weight_decay: float, n_steps: int) -> None:
        super().__init__()
        self.network = network
        self._lr = lr
        self._weight_decay = weight_decay
        self._n_steps = n_steps

    def training_step(self, batch: list[Tensor]) -> Tensor:
        """The loss of a batch of images and labels."""
        images, labels = batch
        loss = F.cross_entropy(self.network(images), labels)
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW, and a cycle of its learning rate."""
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self._lr, weight_decay=self._weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self._lr, self._n_steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class ClassifierTraining:
    """How a classifier is trained.

    Args:
        epochs: Passes over the images.
        lr: The highest learning rate of AdamW.
        batch_size: Images per step.
        weight_decay: AdamW's.
        seed: Of the order of images.

    Raises:
        ConfigError: If a setting is out of range.
    """

    def __init__(
        self, epochs: int, lr: float, batch_size: int, weight_decay: float, seed: int
    ) -> None:
        if min(epochs, batch_size) < 1 or lr <= 0 or weight_decay < 0:
            msg = "training.epochs, batch_size and lr must be positive, weight_decay not negative."
            raise ConfigError(msg)
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.seed = seed

    def run(self, network: nn.Module, images: Tensor, labels: Tensor, trainer: Trainer) -> None:
        """Train a network.

        Args:
            network: Changed; in evaluation mode afterwards.
            images: `(N, 3, H, W)` float, normalised.
            labels: `(N,)` int64.
            trainer: Lightning's; as many epochs as this says.
        """
        loader = DataLoader(
            TensorDataset(images, labels),
            self.batch_size,
            shuffle=True,
            drop_last=len(images) > self.batch_size,  # batch statistics of a few images are noise
            generator=torch.Generator().manual_seed(self.seed),
        )
        module = ClassifierModule(network, self.lr, self.weight_decay, self.epochs * len(loader))
        trainer.fit_loop.max_epochs = self.epochs
        trainer.fit(module.train().requires_grad_(), train_dataloaders=loader)
        loss = float(trainer.callback_metrics["train/loss"])
        log.info("Trained a classifier for %d epochs; the last loss is %.3g", self.epochs, loss)
        network.cpu().eval().requires_grad_(requires_grad=False)
