"""The published procedure written out plainly: what `benchmark.py` measures against.

As the published script does, it extracts all features anew for each reducer, 64 images at a time,
trains in all D dimensions, and holds every feature, reconstruction and anomaly map in memory.
Nothing here is shared with `fre_lightning`, so that it is an independent oracle as well.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms import functional as TF

BATCH_SIZE = 64
EPOCHS = 250
VARIANCE = 0.97
STAGES = ("decode", "forward", "fit", "score", "metrics")


class Images(Dataset[Tensor]):
    """Decoded, resized and normalised images; notes the time that it takes."""

    def __init__(self, paths: Sequence[Path], image_size: int, seconds: dict[str, float]) -> None:
        self.paths = paths
        self.image_size = image_size
        self.seconds = seconds

    def __len__(self) -> int:
        """The number of images."""
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        """An image `(3, S, S)`."""
        with stopwatch(self.seconds, "decode"):
            image = Image.open(self.paths[index]).convert("RGB")
            size = (self.image_size, self.image_size)
            levels: Tensor = TF.to_tensor(image.resize(size, Image.Resampling.LANCZOS))
            mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
            return (levels - mean.view(3, 1, 1)) / std.view(3, 1, 1)


class LinearAutoencoder(nn.Module):
    """Two linear layers over D features; tied, the second is the first one transposed."""

    def __init__(self, n_features: int, n_components: int, *, tied: bool) -> None:
        super().__init__()
        self.encoder = nn.Linear(n_features, n_components)
        self.decoder = nn.Linear(n_components, n_features)
        for layer in (self.encoder, self.decoder):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.tied = tied
        if tied:
            del self.decoder.weight

    def forward(self, features: Tensor) -> Tensor:
        """Reconstruct `(N, D)` features."""
        weight = self.encoder.weight.T if self.tied else self.decoder.weight
        return F.linear(self.encoder(features), weight, self.decoder.bias)


def load_network(name: str, layer: str, state: dict[str, Tensor]) -> nn.Module:
    """A torchvision network with a state dict's weights, cut at a layer."""
    network = get_model(name, weights=None)
    network.load_state_dict(state, strict=False)
    extractor: nn.Module = create_feature_extractor(network.eval(), {layer: "map"})
    return extractor.eval()


@torch.no_grad()
def extract(
    network: nn.Module,
    paths: Sequence[Path],
    image_size: int,
    pool: int,
    device: str,
    seconds: dict[str, float],
) -> Tensor:
    """Pooled features `(N, C, h, w)` of image files."""
    features = []
    for batch in DataLoader(Images(paths, image_size, seconds), BATCH_SIZE):
        with stopwatch(seconds, "forward"):
            feature_map = network(batch.to(device))["map"]
            features.append(F.avg_pool2d(feature_map, pool, pool).cpu())
    return torch.cat(features)


def train_autoencoder(
    features: Tensor, n_components: int, *, tied: bool, device: str, epochs: int = EPOCHS
) -> LinearAutoencoder:
    """Adam on the mean squared error over all elements of `(N, D)` features."""
    model = LinearAutoencoder(features.shape[1], n_components, tied=tied).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in DataLoader(features, BATCH_SIZE, shuffle=True):  # type: ignore[arg-type]
            on_device = batch.to(device)
            loss = F.mse_loss(model(on_device), on_device)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return model


def read_masks(paths: Sequence[Path | None], image_size: int) -> NDArray[np.bool_]:
    """Masks `(N, S, S)`, resized as the maps are and thresholded at 0.5."""
    masks = torch.zeros(len(paths), image_size, image_size, dtype=torch.bool)
    for index, path in enumerate(paths):
        if path is not None:
            mask = TF.to_tensor(Image.open(path).convert("L"))
            size = [image_size, image_size]
            masks[index] = TF.resize(mask, size, antialias=True)[0] > 0.5
    return masks.numpy()


def run_reducer(
    reducer: str,
    network: nn.Module,
    train: Sequence[Path],
    test: Sequence[Path],
    masks: Sequence[Path | None],
    *,
    labels: Sequence[int],
    image_size: int,
    pool: int,
    device: str,
) -> dict[str, Any]:
    """The whole procedure for one of `pca`, `tae`, `ae`: metrics, and seconds per stage."""
    seconds = dict.fromkeys(STAGES, 0.0)
    start = time.perf_counter()
    x_train = extract(network, train, image_size, pool, device, seconds)
    with stopwatch(seconds, "fit"):
        flat = x_train.flatten(1).numpy()
        pca = PCA(VARIANCE, svd_solver="full").fit(flat)
        model = None
        if reducer != "pca":
            tied = reducer == "tae"
            model = train_autoencoder(
                x_train.flatten(1), pca.n_components_, tied=tied, device=device
            )
    x_test = extract(network, test, image_size, pool, device, seconds)
    with stopwatch(seconds, "score"), torch.no_grad():
        flat_test = x_test.flatten(1)
        if model is None:
            decoded = pca.inverse_transform(pca.transform(flat_test.numpy()))
            reconstruction = torch.from_numpy(decoded).float()
        else:
            reconstruction = model(flat_test.to(device)).cpu()
        error_maps = (x_test - reconstruction.view_as(x_test)).square().sum(1, keepdim=True)
        scores = error_maps.sum(dim=(1, 2, 3)).numpy()
        anomaly_maps = TF.resize(error_maps, [image_size, image_size], antialias=True).numpy()
    with stopwatch(seconds, "metrics"):
        pixels = read_masks(masks, image_size)
        metrics = {
            "image_auroc": float(roc_auc_score(labels, scores)),
            "image_aupr": float(average_precision_score(labels, scores)),
            "pixel_auroc": float(roc_auc_score(pixels.ravel(), anomaly_maps.ravel())),
        }
    seconds["total"] = time.perf_counter() - start
    return {"seconds": seconds, "n_components": int(pca.n_components_), **metrics}


@contextmanager
def stopwatch(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the time that the body takes."""
    start = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
