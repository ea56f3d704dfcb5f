"""A report in Chromium, if there is one: its script works, and nothing is loaded or refused."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from itertools import pairwise

import pytest

from fre_lightning.report import write_report
from fre_lightning.results.stored_run import read_run

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)

# `--disable-background-networking` and what follows keep the browser's own requests away.
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-sync", "--disable-background-networking", "--disable-component-update"),
    *("--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom"),
)

# Runs before and after the page's own script; what it saw ends up in an attribute.
WATCH = """
const seen = { errors: [], refused: [] };
addEventListener("error", (event) => seen.errors.push(String(event.message)));
addEventListener("securitypolicyviolation", (event) => seen.refused.push(event.blockedURI));
"""
DRIVE = """
addEventListener("load", () => {
  const table = document.querySelector("table[data-sortable]");
  const titles = [...table.querySelectorAll("tr.titles th")];
  const column = titles.findIndex((title) => title.textContent === "AUROC");
  const values = () => [...table.tBodies[0].rows].map((row) => row.cells[column].dataset.sort);
  const note = () => seen.sorts.push([titles[column].getAttribute("aria-sort"), values()]);
  seen.sorts = [];
  note();
  for (let i = 0; i < 2; i++) { titles[column].querySelector("button").click(); note(); }

  const gallery = document.querySelector(".gallery");
  const visible = () => [...gallery.querySelectorAll("li")].filter((card) => card.offsetParent);
  seen.filters = {};
  for (const button of gallery.querySelectorAll("button[data-filter]:not([hidden])")) {
    button.click();
    const pressed = [...gallery.querySelectorAll("[aria-pressed=true]")];
    seen.filters[button.dataset.filter] = {
      promised: Number(button.querySelector("span").textContent),
      tags: visible().map((card) => card.dataset.tags),
      count: gallery.querySelector(".count").textContent,
      pressed: pressed.map((other) => other.dataset.filter),
    };
  }
  const panel = document.querySelector(".threshold-panel");
  const range = panel.querySelector("input");
  const text = (name) => panel.querySelector(name).textContent;
  seen.slider = [range.value];
  for (const value of [...Array(Number(range.max) + 1).keys()]) {
    range.value = value;
    range.dispatchEvent(new Event("input"));
    const tagged = (tag) =>
      [...gallery.querySelectorAll("li")].filter((card) => card.dataset.tags.includes(tag)).length;
    const mark = document.querySelector("svg [data-scale]");
    seen.slider.push({
      texts: [".at", ".stopped", ".missed", ".moves"].map(text),
      mark: [mark.querySelector("line").getAttribute("x1"), mark.textContent],
      tags: [tagged("mistake"), tagged("moved")],
      badges: gallery.querySelectorAll(".score strong:not([hidden])").length,
    });
  }
  panel.querySelector(".reset").click();
  seen.slider.push(range.value);
  seen.sizes = [...gallery.querySelectorAll("img")].map((image) => image.naturalWidth);
  seen.open = [...document.querySelectorAll("details.run")].map((run) => run.open);
  seen.loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
  document.documentElement.dataset.seen = JSON.stringify(seen);
});
"""


def open_page(uri, profile):
    command = [BROWSER, *OPTIONS, f"--user-data-dir={profile}", uri]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return result.stdout, [line for line in result.stderr.splitlines() if "CONSOLE" in line]


def with_script(page, script, before):
    """A page with one more script, which its policy then allows."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = page.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    return page.replace(before, f"<script>{script}</script>{before}", 1)


def check_slider(seen, run):
    """What the slider of a run shows at each stop, against counts of its scores."""
    start, *stops, end = seen
    thresholds = [float(stop["texts"][0]) for stop in stops]
    assert thresholds == sorted(thresholds)
    assert start == end
    assert thresholds[int(start)] == pytest.approx(run.threshold, rel=1e-3)
    assert len(stops) == len({image.score for image in run.images}) + 2
    usual = [sum(s > run.threshold for s in run.scores(label)) for label in (0, 1)]
    counts = []
    for stop in stops:
        n_stopped, n_good = map(int, stop["texts"][1].split(" of "))
        n_missed, n_defective = map(int, stop["texts"][2].split(" of "))
        assert (n_good, n_defective) == (len(run.scores(0)), len(run.scores(1)))
        moved = abs(n_stopped - usual[0]) + abs(n_defective - n_missed - usual[1])
        assert stop["tags"] == [n_stopped + n_missed, moved]
        assert stop["badges"] == n_stopped + n_missed
        assert ("No image" in stop["texts"][3]) == (moved == 0)
        assert stop["mark"][1] == f"threshold {stop['texts'][0]}"
        counts.append((n_stopped, n_missed))
    assert counts[0] == (n_good, 0)
    assert counts[-1] == (0, n_defective)
    # a part changes sides at each step but that of the run's own threshold
    steps = [a - c + d - b for (a, b), (c, d) in pairwise(counts)]
    assert sorted(steps) == [0] + [1] * (len(steps) - 1)
    places = [float(stop["mark"][0]) for stop in stops]
    assert places == sorted(places)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(NAMES)} is installed")
def test_sorting_filtering_and_silence(run_dir, tmp_path):
    other = shutil.copytree(run_dir, tmp_path / "other")
    metrics = json.loads((other / "metrics.json").read_text())
    (other / "metrics.json").write_text(json.dumps(metrics | {"image_auroc": 0.25}))
    path = tmp_path / "report.html"
    write_report(path, [other, run_dir])

    document, complaints = open_page(path.as_uri(), tmp_path / "profile")
    assert complaints == []
    assert 'aria-pressed="true"' in document

    page = with_script(path.read_text(encoding="utf-8"), WATCH, "<style>")
    page = with_script(page, DRIVE, "</body>")
    # What is folded and lazy would not be there when the page has loaded.
    page = page.replace('id="run-0" open', 'id="run-0"').replace('id="run-1" open', 'id="run-1"')
    page = page.replace('loading="lazy" decoding="async"', "")
    driven = tmp_path / "driven.html"
    driven.write_text(page, encoding="utf-8")
    document, complaints = open_page(f"{driven.as_uri()}#run-0", tmp_path / "profile")
    assert complaints == []
    seen = json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', document)[1]))
    assert seen["errors"] == seen["refused"] == []
    assert [url for url in seen["loaded"] if not url.startswith("data:")] == []

    low, high = "0.25", str(metrics["image_auroc"])
    assert seen["sorts"] == [
        [None, [low, high]],
        ["descending", [high, low]],
        ["ascending", [low, high]],
    ]
    assert {"all", "good", "defective", "type-1", "type-2"} <= seen["filters"].keys()
    for name, shown in seen["filters"].items():
        assert len(shown["tags"]) == shown["promised"] > 0
        assert name == "all" or all(name in tags.split() for tags in shown["tags"])
        assert shown["count"].split()[0] == str(shown["promised"])
        assert shown["pressed"] == [name]
    assert len(seen["filters"]["all"]["tags"]) == 11
    check_slider(seen["slider"], read_run(other))
    assert seen["sizes"] == [2 * 160 + 4] * 11
    assert seen["open"] == [True, False]  # by the link alone
