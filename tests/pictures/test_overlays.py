import numpy as np
from PIL import Image

from fre_lightning.pictures.overlays import draw_pictures


def test_what_does_not_count_is_dark_and_has_no_heat():
    anomaly_map, region = np.zeros((8, 8), np.float32), np.zeros((8, 8), bool)
    anomaly_map[2, 5] = 9
    region[:, 4:] = True
    picture, heat_map = draw_pictures(Image.new("L", (16, 16), 100), anomaly_map, 1.0, region)
    pixels, alpha = np.asarray(picture), np.asarray(heat_map)[..., 3]
    assert (pixels[:, :8] == 25).all()
    assert (pixels[:, 8:] == 100).all()
    assert not alpha[:, :7].any()
    assert alpha.max() > 100
