from fre_lightning.errors import FREError, did_you_mean


def test_near_words_are_named_and_far_ones_are_not():
    assert did_you_mean("resnet8", ["resnet18", "vgg16"]) == " Did you mean resnet18?"
    assert did_you_mean("zebra", ["resnet18", "vgg16"]) == ""


def test_a_summary_is_the_first_sentence():
    assert FREError("a.png cannot be read. Repair it. Or not.").summary == "a.png cannot be read"
