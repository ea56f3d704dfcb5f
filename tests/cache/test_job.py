import contextlib
import os
import sys
import time

import pytest
from omegaconf import OmegaConf

from fre_lightning.cache.job import read_age, read_size
from fre_lightning.cache.table import age_text
from fre_lightning.cli import run_command
from fre_lightning.config import CONFIG_DIR
from fre_lightning.errors import ConfigError
from fre_lightning.features.locks import lock_of

MEGABYTE = 10**6


@pytest.fixture
def cache_dir(tmp_path):
    """Two entries of a megabyte, last used 40 and 20 days ago, and a network of today."""
    for name, backbone, days in (
        ("gear-train", "resnet18", 40),
        ("gear-test", "scattering", 20),
    ):
        folder = tmp_path / f"{name}-{backbone}-layer2-0123456789abcdef"
        folder.mkdir()
        shard = '{"file": "shard-00000.npy", "first": 0, "stop": 7}'
        key = f'{{"backbone": "{backbone}", "layer": "layer2"}}'
        text = f'{{"key": {key}, "n_items": 7, "shards": [{shard}]}}'
        (folder / "manifest.json").write_text(text)
        (folder / "shard-00000.npy").write_bytes(bytes(MEGABYTE - len(text)))
        used = time.time() - days * 86400
        os.utime(folder, (used, used))
        (tmp_path / f"{folder.name}.lock").touch()
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino/net.zip").write_bytes(bytes(MEGABYTE))
    (tmp_path / "notes.txt").write_text("not ours")
    return tmp_path


@pytest.fixture
def command(cache_dir, monkeypatch, capsys):
    """Run the command on the folder: its exit code, and what it printed in one line."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["cache", f"paths.cache_dir={cache_dir}", *arguments])
        code = 0
        try:
            run_command("cache", "fre_lightning.cache.job")
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, " ".join((captured.out + captured.err).replace("│", " ").split())

    return run


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_list(command, cache_dir):
    before = names(cache_dir)
    code, text = command()
    assert code == 0
    assert "gear-train resnet18 layer2 7 1.0 MB 40 d yes" in text
    assert "gear-test scattering layer2 7 1.0 MB 20 d yes" in text
    assert "other: openvino (1) 1.0 MB 0 min" in text
    assert "holds 3.0 MB" in text
    assert names(cache_dir) == before


def test_what_was_not_used_for_long_goes(command, cache_dir):
    dry = command("older_than=30d", "dry_run=true")[1]
    assert "Would remove 1 item, 1.0 MB; 2.0 MB left" in dry
    assert len(names(cache_dir)) == 8
    code, text = command("older_than=30d")
    assert code == 0
    assert "Removed 1 item, 1.0 MB; 2.0 MB left" in text
    assert "gear-train resnet18" in text
    assert names(cache_dir) == [
        "gear-test-scattering-layer2-0123456789abcdef.lock",
        "manifest.json",
        "net.zip",
        "notes.txt",
        "shard-00000.npy",
    ]


def test_the_cache_becomes_small_enough(command, cache_dir):
    text = command("max_gb=0.0025")[1]
    assert "Removed 1 item" in text
    text = command("max_gb=0")[1]
    assert "Removed 1 item" in text
    assert "That is more than 0 bytes" in text  # the network was used within an hour
    assert names(cache_dir) == ["net.zip", "notes.txt"]


def test_what_is_in_use_stays_and_is_said(command, cache_dir):
    (folder,) = cache_dir.glob("gear-train-*f")
    with lock_of(folder):
        text = command("older_than=1h")[1]
    assert "Removed 1 item" in text
    assert f"In use by running processes, and kept: {folder.name}." in text
    assert folder.is_dir()


def test_locks_of_entries_that_were_deleted_go(command, cache_dir):
    lost = cache_dir / "gear-masks-fedcba9876543210.lock"
    lost.touch()
    command("older_than=1w", "dry_run=true")
    assert lost.exists()
    command("older_than=90d")
    assert not lost.exists()


def test_a_cache_that_is_not_there(command, cache_dir):
    code, text = command(f"paths.cache_dir={cache_dir / 'none'}", "older_than=1h")
    assert (code, "Removed 0 items" in text) == (0, True)


@pytest.mark.parametrize(
    "argument", ["older_than=soon", "older_than=30", "older_than=-1d", "max_gb=much", "max_gb=-1"]
)
def test_nonsense_is_told_in_a_sentence(command, cache_dir, argument):
    before = names(cache_dir)
    code, text = command(argument)
    assert code == 2
    assert argument in text
    assert "Give" in text
    assert "Traceback" not in text
    assert names(cache_dir) == before


def test_times_and_sizes():
    assert [read_age(text) for text in (None, "12h", "30d", "1.5w")] == [
        None,
        43_200,
        2_592_000,
        907_200,
    ]
    assert [read_size(number) for number in (None, 50, "0.5")] == [None, 50e9, 5e8]
    for number in (True, "nan", "inf"):
        with pytest.raises(ConfigError):
            read_size(number)
    ages = [age_text(seconds) for seconds in (-60, 89, 3600 * 47, 86400 * 3)]
    assert ages == ["0 min", "1 min", "47 h", "3 d"]


def test_the_help_has_every_setting_with_its_comment(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["cache", "--help"])
    with contextlib.suppress(SystemExit):
        run_command("cache", "")
    text = capsys.readouterr().out
    path = CONFIG_DIR / "cache.yaml"
    for key in set(OmegaConf.load(path)) - {"defaults", "paths"}:
        assert f"\n  {key}: " in text
    assert "python -m fre_lightning.cache older_than" in text
