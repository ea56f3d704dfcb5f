import pytest

from fre_lightning.errors import FREError, did_you_mean, exit_code_of


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
