import math
import shutil

import pytest

from fre_lightning.experiment import run


@pytest.mark.parametrize("reducer", ["tae", "ae"])
def test_autoencoders_end_like_pca(make_config, reducer):
    pca = run(make_config("reducer=pca"))
    summary = run(make_config(f"reducer={reducer}", "reducer.batch_size=4"))
    assert summary["n_components"] == pca["n_components"]
    assert summary["image_auroc"] == pytest.approx(pca["image_auroc"], abs=0.1)


@pytest.mark.parametrize("gone", [["good"], ["dent", "spot"]])
def test_metrics_that_are_undefined_are_left_out(make_config, mvtec, caplog, gone):
    for name in gone:
        shutil.rmtree(mvtec / "part/test" / name)
    with caplog.at_level("INFO"):
        summary = run(make_config())
    assert "image_auroc" not in summary
    (record,) = (record for record in caplog.records if "Left out" in record.message)
    assert (record.levelname == "WARNING") == (gone == ["good"])
    assert not any(math.isnan(v) for v in summary.values() if isinstance(v, float))
