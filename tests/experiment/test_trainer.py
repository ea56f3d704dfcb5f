import pytest

from fre_lightning.errors import ConfigError
from fre_lightning.experiment import run


def test_several_devices_are_refused(make_config):
    with pytest.raises(ConfigError, match="one device"):
        run(make_config("trainer.devices=2"))
