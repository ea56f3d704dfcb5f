import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fre_lightning.experiment import run


def test_tensorboard_holds_metrics_losses_pictures_curves_and_hparams(make_config, output_dir):
    summary = run(make_config("model.layers=order2", "reducer=tae", "reducer.epochs=7"))
    events = EventAccumulator(str(output_dir / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()
    assert events.Scalars("test/image_auroc")[-1].value == pytest.approx(summary["image_auroc"])
    losses = [event.value for event in events.Scalars("train/loss")]
    assert len(losses) == 7
    assert losses[-1] < losses[0]
    assert {tag.split("/")[0] for tag in tags["images"]} == {"good", "dent", "spot", "roc"}
    assert {"pr/image", "pr/pixel"} <= set(tags["tensors"])
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"reducer/epochs" in content
    assert events.Scalars("final/image_auroc")[-1].value == pytest.approx(summary["image_auroc"])
