"""What a report tells of thresholds, and when it is silent."""

from pathlib import Path

from fre_lightning.report.threshold import threshold_panel, workload_table
from fre_lightning.results.stored_run import ScoredImage, StoredRun

IMAGES = [
    ScoredImage(f"{i}.png", int(score > 10), "dent" if score > 10 else "good", score)
    for i, score in enumerate((1.0, 2.0, 3.0, 4.0, 20.0, 30.0))
]


def make_run(images, threshold=3.5):
    return StoredRun(Path(), "part", {}, {"threshold": threshold}, images)


def test_the_slider_knows_all_images():
    panel = threshold_panel(make_run(IMAGES))
    assert panel["threshold"] == 3.5
    assert panel["images"][3] == (4.0, 0, "3.png")
    assert len(panel["images"]) == 6


def test_without_threshold_or_images_there_is_no_slider():
    assert threshold_panel(make_run(IMAGES, None)) is None
    assert threshold_panel(make_run([])) is None


def test_workload_is_counted_in_parts():
    table = workload_table(make_run([*IMAGES, ScoredImage("6.png", 1, "dent", 2.5)]))
    texts = [[(cell.text, cell.note) for cell in row] for row in table.rows]
    none = [("0 %", ""), ("2 of 4", "50.0 %"), ("1 of 3", "33.3 %")]
    assert texts[0] == none
    assert [row[0][0] for row in texts] == ["0 %", "1 %", "2 %", "5 %", "10 %"]
    assert workload_table(make_run(IMAGES[:4])) is None
    assert workload_table(make_run(IMAGES[4:])) is None
