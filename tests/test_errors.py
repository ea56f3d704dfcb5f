import errno
import signal
from pathlib import Path

import pytest

from fre_lightning.errors import (
    FREError,
    OutputError,
    Stops,
    did_you_mean,
    exit_code_of,
    explaining_full_disks,
)


def test_near_words_are_named_and_far_ones_are_not():
    assert did_you_mean("resnet8", ["resnet18", "vgg16"]) == " Did you mean resnet18?"
    assert did_you_mean("zebra", ["resnet18", "vgg16"]) == ""


def test_a_summary_is_the_first_sentence():
    assert FREError("a.png cannot be read. Repair it. Or not.").summary == "a.png cannot be read"


def test_a_command_ends_with_0_or_2_and_the_message(capsys):
    def fail():
        msg = "There is none. Make one."
        raise FREError(msg)

    assert exit_code_of(lambda: None) == 0
    assert exit_code_of(fail) == 2
    assert capsys.readouterr() == ("", "There is none. Make one.\n")
    with pytest.raises(KeyError):  # a mistake of the program
        exit_code_of(lambda: {}["key"])


def test_a_stop_keeps_its_code_whatever_becomes_of_its_exception():
    def mask():
        with Stops(in_order=True):
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                raise KeyError

    with pytest.raises(SystemExit) as stop:
        mask()
    assert stop.value.code == 130


def test_a_stop_between_two_jobs_waits_for_the_second(capfd):
    seen = []

    def sweep():
        with Stops(in_order=False) as stops:
            with stops.work():
                seen.append("first")
            signal.raise_signal(signal.SIGTERM)
            seen.append("composed")
            with stops.work():
                seen.append("second")

    with pytest.raises(SystemExit) as stop:
        sweep()
    assert stop.value.code == 143
    assert seen == ["first", "composed"]
    assert "Stopped" in capfd.readouterr().err


def test_a_body_without_stops_ends_as_it_does():
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyError), Stops(in_order=True):
        raise KeyError
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_told_in_a_sentence(number):
    with (
        pytest.raises(OutputError, match=r"cannot be written: .*out/scores\.csv.*hydra\.run\.dir"),
        explaining_full_disks(),
    ):
        raise OSError(number, "No place", "out/scores.csv")


def test_other_errors_are_not_of_a_full_disk():
    with pytest.raises(FileNotFoundError), explaining_full_disks():
        Path("none").read_text()
