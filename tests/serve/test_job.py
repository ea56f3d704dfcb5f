"""The server's command."""

import re
import signal
import subprocess
import sys

import httpx
import pytest
from hydra import compose, initialize_config_dir

from fre_lightning.config import CONFIG_DIR
from fre_lightning.errors import CheckpointError, ConfigError
from fre_lightning.serve.job import run


@pytest.mark.parametrize(
    ("override", "error", "words"),
    [
        ("checkpoint=nothing", CheckpointError, "nothing"),
        ("max_pixels=0", ConfigError, "max_pixels"),
        ("max_upload_mb=0", ConfigError, "max_upload_mb"),
        ("max_waiting=-1", ConfigError, "max_waiting"),
        ("port=70000", ConfigError, "70000"),
        ("allowed_hosts=[camera,cam*]", ConfigError, r"cam\*.*stands alone"),
    ],
)
def test_mistakes(fitted_run, override, error, words):
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("serve", [f"checkpoint={fitted_run}", "port=0", override])
    with pytest.raises(error, match=words):
        run(cfg)


@pytest.mark.slow
def test_it_serves_until_ctrl_c_and_leaves_nothing_behind(fitted_run, tmp_path):
    command = [sys.executable, "-m", "fre_lightning.serve", f"checkpoint={fitted_run}", "port=0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, **pipes) as process:
        lines = iter(process.stdout.readline, "")
        url = next(found[0] for line in lines if (found := re.search(r"http://\S+", line)))
        assert httpx.get(f"{url}/health", trust_env=False).json()["status"] == "ok"
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 0
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []
