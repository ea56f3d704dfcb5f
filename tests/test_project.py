"""The files for maintainers agree with the package."""

from pathlib import Path

import yaml

import fre_lightning

ROOT = Path(__file__).parents[1]


def test_the_version_to_cite_is_the_package_s():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == fre_lightning.__version__
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert changes.split("\n## ", 1)[1].startswith(fre_lightning.__version__)


def test_public_checks_run_what_maintainers_run():
    steps = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["check"]
    commands = [step["run"] for step in steps["steps"] if "run" in step]
    assert commands == [".ci/run"]
    versions = steps["strategy"]["matrix"]["python"]
    assert 'requires-python = ">=3.11,<3.14"' in (ROOT / "pyproject.toml").read_text()
    assert versions == ["3.11", "3.12", "3.13"]
