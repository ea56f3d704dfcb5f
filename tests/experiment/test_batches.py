import shutil

import pytest
from PIL import Image

from fre_lightning.errors import DatasetError
from fre_lightning.experiment import run


def test_a_missing_mask(make_config, mvtec):
    (mvtec / "part/ground_truth/dent/001_mask.png").unlink()
    with pytest.raises(DatasetError, match="001"):
        run(make_config())


def test_a_mask_of_another_size(make_config, mvtec):
    path = mvtec / "part/ground_truth/dent/001_mask.png"
    Image.open(path).resize((16, 16)).save(path)
    with pytest.raises(DatasetError, match="16x16"):
        run(make_config())


def test_an_empty_mask_is_warned_of_and_counted(make_config, mvtec, caplog):
    Image.new("L", (32, 32)).save(mvtec / "part/ground_truth/dent/001_mask.png")
    for _ in range(2):  # from the cache, too
        caplog.clear()
        run(make_config())
        assert "1 of the 6 masks" in caplog.text


def test_without_masks_there_are_no_pixel_metrics(make_config, mvtec):
    shutil.rmtree(mvtec / "part/ground_truth")
    summary = run(make_config())
    assert "image_auroc" in summary
    assert "pixel_auroc" not in summary


def test_pixel_metrics_at_mask_size(make_config, mvtec, capsys):
    """Files three times as large as the model's images, of several sizes, with the same content."""
    at_image_size = run(make_config())
    for i, path in enumerate(sorted(mvtec.glob("part/test/*/*.png"))):
        enlarge(path, 3 + i % 2)
    for mask in sorted(mvtec.glob("part/ground_truth/*/*.png")):
        with Image.open(mvtec / "part/test" / mask.parent.name / f"{mask.stem[:3]}.png") as image:
            enlarge(mask, image.width // 32)
    summary = run(make_config("metrics.size=mask"))
    assert summary["pixel_metrics_size"] == "mask"
    assert "each mask's own size, over all 11 test images" in " ".join(
        capsys.readouterr().out.split()
    )
    for name in ("pixel_auroc", "pixel_aupro"):
        assert summary[name] == pytest.approx(at_image_size[name], abs=0.02)
        assert summary[name] != at_image_size[name]


def enlarge(path, factor):
    with Image.open(path) as image:
        image.resize((factor * image.width, factor * image.height), Image.Resampling.NEAREST).save(
            path
        )
