import pytest

from fre_lightning.errors import ConfigError
from fre_lightning.experiment import run


def test_several_devices_divide_no_run_by_themselves(make_config):
    with pytest.raises(ConfigError, match="with trainer=ddp"):
        run(make_config("trainer.devices=2"))


def test_a_program_divides_no_run(make_config, monkeypatch):
    for name in ("RANK", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="command line alone"):
        run(make_config("trainer=ddp"))
