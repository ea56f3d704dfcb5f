"""Loggers beside TensorBoard: what they need, and what they keep of a run."""

import csv
import time

import pytest
import yaml
from pytorch_lightning.loggers import mlflow as mlflow_logger
from pytorch_lightning.loggers import wandb as wandb_logger

from fre_lightning.errors import ConfigError
from fre_lightning.experiment import run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize(
    ("name", "module", "flag"),
    [
        ("wandb", wandb_logger, "_WANDB_AVAILABLE"),
        ("mlflow", mlflow_logger, "_MLFLOW_AVAILABLE"),
    ],
)
def test_a_missing_package_is_named(make_config, monkeypatch, name, module, flag):
    monkeypatch.setattr(module, flag, False)
    with pytest.raises(ConfigError, match=rf'pip install "fre-lightning\[{name}\]"'):
        run(make_config(f"logger={name}"))


def test_csv_has_losses_metrics_and_settings(make_config, output_dir):
    summary = run(make_config("logger=csv", "reducer=tae", "reducer.epochs=3"))
    with (output_dir / "csv/metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    losses = [name for name in rows[0] if name.startswith("train/loss")]
    assert losses
    assert all(sum(row[name] != "" for row in rows) == 3 for name in losses)
    (auroc,) = (row["test/image_auroc"] for row in rows if row["test/image_auroc"])
    assert float(auroc) == pytest.approx(summary["image_auroc"])
    settings = yaml.safe_load((output_dir / "csv/hparams.yaml").read_text())
    assert (settings["reducer/epochs"], settings["model"]) == (3, "scattering")


def test_weights_and_biases_keeps_report_and_model(make_config, output_dir):
    wandb = pytest.importorskip("wandb")
    offline = ("logger=wandb", "logger.wandb.offline=true")
    run(make_config(*offline))
    assert wandb.run is None
    (kept,) = output_dir.glob("wandb/offline-run-*/*.wandb")
    missing, deadline = {b"report.html", b"model.ckpt", b"test/image_auroc"}, time.monotonic() + 60
    while missing and time.monotonic() < deadline:  # a process of wandb's writes it
        written = kept.read_bytes()  # in blocks of 32 KB, each with a header of 7 bytes
        starts = range(0, len(written), 2**15)
        content = b"".join(written[start + 7 : start + 2**15] for start in starts)
        missing = {name for name in missing if name not in content}
        time.sleep(0.1 if missing else 0)
    assert not missing
    with pytest.raises(ConfigError):
        run(make_config(*offline, "reducer.n_components=1000", "augmentation.max_images=0"))
    assert wandb.run is None  # nor does a failed job leave one to the next


def test_mlflow_keeps_report_and_model(make_config, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    summary = run(make_config("logger=mlflow", f"logger.mlflow.tracking_uri={uri}"))
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("fre_lightning")
    (kept,) = client.search_runs([experiment.experiment_id])
    assert kept.info.status == "FINISHED"
    assert kept.data.metrics["test/image_auroc"] == pytest.approx(summary["image_auroc"])
    assert kept.data.params["model"] == "scattering"
    names = {entry.path for entry in client.list_artifacts(kept.info.run_id)}
    assert names == {"report.html", "model.ckpt"}
