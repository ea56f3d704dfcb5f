"""Whole pages: well-formed, self-contained, and nothing of a name becomes markup."""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from fre_lightning.experiment import run
from fre_lightning.report import find_runs, write_report
from fre_lightning.report.__main__ import main
from tests.report.conftest import EVIL

VOID = {"meta", "link", "img", "br", "wbr", "input"}


class Page(HTMLParser):
    """Checks that elements nest, and gathers what tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.source, self.stack, self.starts, self.text = text, [], [], []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), f"an attribute of {tag} stands twice"
        self.starts.append((tag, dict(attributes)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.starts.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if self.stack and self.stack[-1] not in {"script", "style"}:
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.starts if name == tag]

    def cards(self):
        return [attributes["data-tags"] for attributes in self.all("li")]

    def words(self):
        return " ".join(" ".join(self.text).split())


def read(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_names_stay_names(run_dir):
    page = read(run_dir)
    data, code = page.all("script")
    assert (data, code) == ({"type": "application/json"}, {})
    (scores,) = re.findall(r'"application/json">(.*?)</script>', page.source)
    assert any(EVIL in path for _, _, path in json.loads(scores))
    assert not any(name.startswith("on") for _, attributes in page.starts for name in attributes)
    assert EVIL in page.words()
    assert "{{ 7 * 7 }}" in page.words()
    assert all(
        attributes["src"].startswith("data:image/webp;base64,") for attributes in page.all("img")
    )


def test_a_page_needs_nothing_else_and_allows_nothing_else(run_dir):
    text = (run_dir / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    links = [
        value
        for _, attributes in page.starts
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "action", "data"}
        and not value.startswith(("data:", "#"))
    ]
    assert links == []
    assert "@import" not in text
    assert not re.search(r"url\(", text)
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        content = re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_charts_are_well_formed(run_dir):
    text = (run_dir / "report.html").read_text(encoding="utf-8")
    charts = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(charts) == 3
    for chart in charts:
        ElementTree.fromstring(chart)


def test_a_run_shows_its_numbers_images_config_and_versions(run_dir):
    page = read(run_dir)
    metrics = json.loads((run_dir / "metrics.json").read_text())
    words = page.words()
    ends = [f"{metrics[f'image_auroc{end}']:.3f}" for end in ("", "_low", "_high")]
    assert f"{ends[0]} [{ends[1]}, {ends[2]}]" in words
    assert "pixel, at 32x32, over all 11 test images" in words.replace("\N{NO-BREAK SPACE}", " ")
    assert f"{metrics['pixel_aupro']:.4f}" in words
    assert "n_components: 0.97" in words
    assert "pytorch-lightning" in words
    assert len(page.cards()) == len(page.all("img")) == 11
    mistakes = ["mistake" in tags.split() for tags in page.cards()]
    assert mistakes == sorted(mistakes, reverse=True)
    n_wrong = round((1 - metrics["accuracy"]) * 11)
    assert sum(mistakes) == n_wrong
    assert {"All", "Good", "Defective"} <= set(re.findall(r"[A-Z][a-z]+", words))


def test_a_report_is_made_again_without_the_dataset(run_dir, mvtec, capsys):
    before = (run_dir / "report.html").read_text()
    (run_dir / "report.html").unlink()
    mvtec.rename(mvtec.with_name("moved"))
    assert main([str(run_dir)]) == 0
    assert (run_dir / "report.html").read_text() == before
    assert capsys.readouterr().out == f"{run_dir}/report.html\n"


def test_pictures_that_were_not_stored_come_from_the_dataset_or_are_said_to_be_gone(run_dir, mvtec):
    shutil.rmtree(run_dir / "thumbnails")
    (mvtec / "part/test/spot/001.png").unlink()
    (mvtec / "part/ground_truth/spot/001_mask.png").unlink()
    write_report(run_dir / "report.html", [run_dir])
    page = read(run_dir)
    assert len(page.all("img")) == 10
    assert page.words().count("The image is gone") == 1
    shutil.rmtree(mvtec)
    write_report(run_dir / "report.html", [run_dir])
    assert read(run_dir).words().count("The image is gone") == 11


def test_no_report_unless_asked_for(make_config, tmp_path):
    run(make_config("report=false"))
    assert not (tmp_path / "run/report.html").exists()
    assert not (tmp_path / "run/thumbnails").exists()
    run(make_config("debug=default"))
    assert not (tmp_path / "run/report.html").exists()


@pytest.mark.parametrize("gone", [["ground_truth"], ["test/good"], ["test/dent", "test/spot"]])
def test_what_cannot_be_measured_is_left_out(make_config, mvtec, tmp_path, gone):
    for name in gone:
        shutil.rmtree(mvtec / "part" / name)
    if "test/dent" in gone:
        shutil.rmtree(mvtec / "part/ground_truth")
    summary = run(make_config())
    page = read(tmp_path / "run")
    assert len(page.all("img")) == summary["n_test"]
    assert ("pixel" in page.words()) == ("pixel_auroc" in summary)
    assert "nan" not in page.words().lower()


def test_without_test_images(make_config, mvtec, tmp_path):
    shutil.rmtree(mvtec / "part/test")
    shutil.rmtree(mvtec / "part/ground_truth")
    run(make_config())
    words = read(tmp_path / "run").words()
    assert "There were no test images" in words
    assert "nothing was measured" in words


def test_runs_are_compared_side_by_side(make_config, tmp_path, monkeypatch, capsys):
    for reducer in ("pca", "tae"):
        run(make_config(f"reducer={reducer}", f"paths.output_dir='{tmp_path}/runs/{reducer} <i>'"))
    monkeypatch.chdir(tmp_path)
    assert main([f"runs/{reducer} <i>" for reducer in ("pca", "tae")]) == 0
    page = read(tmp_path)
    words = page.words()
    assert "part: image ROC" in words
    assert "reducer.epochs" in words  # a setting that differs
    assert [a["id"] for a in page.all("details") if "id" in a] == ["run-0", "run-1"]
    links = [attributes["href"] for attributes in page.all("a")]
    assert links == [
        "#run-0",
        "#run-1",
        "runs/pca%20%3Ci%3E/report.html",
        "runs/tae%20%3Ci%3E/report.html",
    ]
    capsys.readouterr()
    assert main(["runs", "--output", "deep/er/x.html"]) == 0
    assert (tmp_path / "deep/er/x.html").is_file()


def test_mistakes_on_the_command_line(tmp_path, run_dir, capsys):
    assert main([str(tmp_path / "nothing")]) == 2
    assert "There is no run in" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main([str(run_dir), "--output", str(tmp_path / "file/report.html")]) == 2
    assert "--output" in capsys.readouterr().err


def test_a_tilde_in_the_output_is_the_home_folder(run_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main([str(run_dir), "--output=~/report.html"]) == 0
    assert (tmp_path / "report.html").is_file()


def test_a_large_test_set_shows_its_hardest_images(run_dir, monkeypatch):
    monkeypatch.setattr("fre_lightning.report.gallery.MAX_PICTURES", 4)
    write_report(run_dir / "report.html", find_runs(run_dir))
    page = read(run_dir)
    assert len(page.cards()) == 4
    assert "The 4 hardest of 11 test images" in page.words()
