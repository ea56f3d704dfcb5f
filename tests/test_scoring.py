import torch
from torchvision.transforms.functional import resize

from fre_lightning.scoring import PaperScoring, error_map, pool_features


def test_error_map_and_score_by_hand():
    error = torch.tensor([[1.0, 2.0, 3.0, 4.0, 0.0, -1.0, 0.0, 2.0]])  # C=2, h=2, w=2
    maps = error_map(error, (2, 2, 2))
    torch.testing.assert_close(maps, torch.tensor([[[1.0, 5.0], [9.0, 20.0]]]))
    torch.testing.assert_close(PaperScoring().image_score(maps), torch.tensor([35.0]))


def test_pooling_is_a_plain_mean_and_drops_the_rest():
    feature_map = torch.arange(2 * 5 * 4.0).view(1, 2, 5, 4)
    pooled = pool_features(feature_map, 2)
    assert pooled.shape == (1, 2, 2, 2)
    torch.testing.assert_close(pooled[0, 1, 1, 0], feature_map[0, 1, 2:4, 0:2].mean())
    assert pool_features(feature_map, 1) is feature_map


def test_anomaly_map_is_the_published_resize():
    maps = torch.rand(3, 8, 6, generator=torch.Generator().manual_seed(0))
    for size in ((64, 50), (5, 4)):
        expected = resize(maps, list(size), antialias=True)
        torch.testing.assert_close(PaperScoring().anomaly_map(maps, size), expected)
