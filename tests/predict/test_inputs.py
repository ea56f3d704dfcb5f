"""Which images an input means."""

import os
import threading

import pytest

from fre_lightning.datasets.listing import list_images_below
from fre_lightning.errors import DatasetError
from fre_lightning.predict.inputs import find_inputs, read_lines


@pytest.fixture
def folder(tmp_path):
    names = ("b.png", "a.JPG", "sub/c.tiff", "sub/deep/d.webp", "a/z.bmp", "a.b/y.jpeg")
    for name in (*names, "notes.txt", ".hidden.png", ".git/x.png", "sub/Thumbs.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def found(source):
    inputs = find_inputs(source)
    paths = list(inputs.paths())
    assert inputs.n_images == len(paths)
    return paths


def test_a_folder_is_read_with_all_below_as_datasets_are(folder):
    paths = found(str(folder))
    assert paths == [str(path) for path in list_images_below(folder)]
    assert find_inputs(str(folder)).root == str(folder)


def test_globs_files_and_lists(folder, monkeypatch):
    assert found(f"{folder}/*.png") == [f"{folder}/b.png"]
    assert found(f"{folder}/**") == sorted(found(str(folder)))
    assert len(found(f"{folder}/*")) == 6  # folders are read with all below
    system = ("@eaDir/b.png", "sub/@eaDir/c.tiff")  # of a network drive, beside the images
    for name in system:
        (folder / name).parent.mkdir()
        (folder / name).touch()
    assert found(f"{folder}/**") == sorted(found(str(folder)))
    assert found(f"{folder}/**/*.tiff") == [f"{folder}/sub/c.tiff"]
    assert len(found(f"{folder}/*")) == 6
    assert found(f"{folder}/@eaDir/*.png") == [f"{folder}/@eaDir/b.png"]  # it was named
    assert found(f"{folder}/notes.txt") == [f"{folder}/notes.txt"]  # it was named
    both = found([f"{folder}/sub", f"{folder}/b.png"])
    assert both == [f"{folder}/sub/c.tiff", f"{folder}/sub/deep/d.webp", f"{folder}/b.png"]
    monkeypatch.setenv("HOME", str(folder))
    assert len(found("~/sub")) == 2
    monkeypatch.chdir(folder)
    assert found("./sub") == ["./sub/c.tiff", "./sub/deep/d.webp"]  # as given
    assert find_inputs("*.png").root == "."
    assert find_inputs(f"{folder}/sub/*/*.webp").root == f"{folder}/sub"


def test_names_that_look_like_globs(folder):
    (folder / "[1]").mkdir()
    (folder / "[1]/x.png").touch()
    assert found(f"{folder}/[1]") == [f"{folder}/[1]/x.png"]


@pytest.mark.parametrize("source", ["nowhere", "*.gif", "empty"])
def test_nothing_is_told(folder, source, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    with pytest.raises(DatasetError, match=source.replace("*", r"\*")):
        find_inputs(source)


def test_lines_come_as_soon_as_they_are_there():
    reader, writer = os.pipe()
    lines = read_lines(reader)
    os.write(writer, b"a.png\r\n\n  \nb")
    assert next(lines) == "a.png"
    threading.Timer(0.05, os.write, (writer, b" c.png\nd\xff.png")).start()
    assert next(lines) == "b c.png"
    os.close(writer)
    assert os.fsencode(next(lines)) == b"d\xff.png"
    assert list(lines) == []
    os.close(reader)
