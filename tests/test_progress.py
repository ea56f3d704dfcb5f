import multiprocessing
import sys
from types import SimpleNamespace

from fre_lightning.progress import progress


def test_a_bar_for_a_notebook_and_none_for_a_file(monkeypatch, capsys):
    assert list(progress(range(3), "Judging")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert list(progress(iter("ab"), "Judging", 2)) == ["a", "b"]
    text = capsys.readouterr()
    assert text.err == ""  # which notebooks show on red
    assert "Judging" in text.out


def test_no_bar_in_a_process_of_a_launcher(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert list(progress(range(3), "Judging", 3)) == [0, 1, 2]
    assert "Judging" in capsys.readouterr().err
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    assert list(progress(range(3), "Judging", 3)) == [0, 1, 2]
    assert capsys.readouterr().err == ""
