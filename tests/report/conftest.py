"""A run whose names try to break out of the page."""

import pytest

from fre_lightning.experiment import run

EVIL = "<script>alert(1)"
"""A defect type. A slash cannot stand in a file name, so `</script>` comes from two folders."""


@pytest.fixture
def run_dir(make_config, tmp_path, mvtec):
    """A finished run with two defect types, one of them named to be mistaken for markup."""
    for folder in ("test", "ground_truth"):
        (mvtec / "part" / folder / "dent").rename(mvtec / "part" / folder / EVIL)
    name = """001.png"><img src=x onerror='alert("2")'>&amp;{{ 7 * 7 }}.png"""
    (mvtec / "part/test/good/001.png").rename(mvtec / "part/test/good" / name)
    run(make_config())
    return tmp_path / "run"
