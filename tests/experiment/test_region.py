"""Regions of interest from the command line to a detector."""

import numpy as np
import pytest
import torch
from PIL import Image

import fre_lightning
from fre_lightning.detector.checkpoint import PAYLOAD_KEY
from fre_lightning.errors import ConfigError
from fre_lightning.experiment import run
from tests.conftest import SIZE, draw_regions
from tests.experiment.conftest import read_scores

SIDE = 16  # of the region in the upper left corner


@pytest.fixture
def corner(tmp_path):
    levels = np.zeros((SIZE, SIZE), np.uint8)
    levels[:SIDE, :SIDE] = 255
    Image.fromarray(levels).save(tmp_path / "corner.png")
    return tmp_path / "corner.png"


def test_scores_and_maps_are_those_of_the_region(make_config, corner, output_dir, mvtec, caplog):
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[SIDE:, :4] = 255
    Image.fromarray(mask).save(mvtec / "part/ground_truth/dent/000_mask.png")
    summary = run(make_config(f"dataset.roi={corner}", "heatmaps=true"))
    assert summary["region_share"] == 0.25
    expected = {row["path"]: float(row["score"]) for row in read_scores(output_dir)}
    detector = fre_lightning.load(output_dir, device="cpu")
    for path, score in expected.items():
        result = detector(mvtec / path)
        assert result.score == pytest.approx(score, rel=1e-5)
        assert result.region[:SIDE, :SIDE].all()
        assert not result.region[SIDE:].any()
        assert not result.anomaly_map[~result.region].any()
        if result.box is not None:
            assert max(result.box.x1, result.box.y1) <= SIDE
    panel = np.asarray(Image.open(output_dir / "heatmaps/part/test/good/000.png"))
    photo = np.asarray(Image.open(mvtec / "part/test/good/000.png"))
    np.testing.assert_array_equal(panel[:SIDE, :SIDE, 0], photo[:SIDE, :SIDE])
    np.testing.assert_array_equal(panel[SIDE:, :SIDE, 0], photo[SIDE:, :SIDE] // 4)
    assert "lies outside of the region of interest: 1" in caplog.text


def test_pixel_metrics_do_not_see_what_lies_outside(make_config, corner, output_dir, mvtec):
    before = run(make_config(f"dataset.roi={corner}"))
    for path in mvtec.glob("part/ground_truth/*/*.png"):
        mask = np.array(Image.open(path))
        mask[SIDE:] = 255 - mask[SIDE:]
        Image.fromarray(mask).save(path)
    for size in ("image", "mask"):
        after = run(make_config(f"dataset.roi={corner}", f"metrics.size={size}"))
        for name in ("pixel_auroc", "pixel_aupro", "pixel_aupr", "pixel_f1_max"):
            assert after[name] == before[name], name


def test_a_checkpoint_keeps_its_region(make_config, corner, output_dir, tmp_path):
    first = run(make_config(f"dataset.roi={corner}"))
    again = run(make_config(f"checkpoint={output_dir}", f"paths.output_dir={tmp_path / 'again'}"))
    for name in ("image_auroc", "pixel_auroc", "threshold", "region_share"):
        assert again[name] == first[name]


def test_a_region_of_everything_is_none(make_config, corner, output_dir):
    run(make_config())
    plain = torch.load(output_dir / "model.ckpt", weights_only=True)
    Image.new("L", (SIZE, SIZE), 255).save(corner)
    summary = run(make_config(f"dataset.roi={corner}"))
    white = torch.load(output_dir / "model.ckpt", weights_only=True)
    assert plain[PAYLOAD_KEY] == white[PAYLOAD_KEY]
    assert "region_share" not in summary


def test_a_checkpoint_without_a_region_cannot_get_one(make_config, corner, output_dir):
    run(make_config())
    with pytest.raises(ConfigError, match="fitted without a region"):
        run(make_config(f"checkpoint={output_dir}", f"dataset.roi={corner}"))


def test_each_image_may_have_its_own(make_config, mvtec, output_dir, tmp_path):
    draw_regions(mvtec, tmp_path / "roi")
    run(make_config(f"dataset.roi={tmp_path / 'roi'}", "heatmaps=true"))
    rows = read_scores(output_dir)
    detector = fre_lightning.load(output_dir, device="cpu", roi=tmp_path / "roi", roi_root=mvtec)
    for row, outcome in zip(rows, detector.stream(mvtec / r["path"] for r in rows), strict=True):
        result = outcome.result
        assert result.score == pytest.approx(float(row["score"]), rel=1e-5)
        region = np.asarray(Image.open(tmp_path / "roi" / row["path"])) > 0
        np.testing.assert_array_equal(result.region, region)
        assert not result.anomaly_map[~region].any()
        panel = np.asarray(Image.open(output_dir / "heatmaps" / row["path"]))[:, :SIZE, 0]
        assert panel[~region].mean() < 0.5 * panel[region].mean()
    (tmp_path / "roi" / rows[0]["path"]).unlink()
    detector = fre_lightning.load(output_dir, device="cpu", roi=tmp_path / "roi", roi_root=mvtec)
    (outcome,) = detector.stream([mvtec / rows[0]["path"]])
    assert "has no region" in str(outcome.error)
