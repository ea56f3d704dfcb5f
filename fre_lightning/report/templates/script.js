"use strict";

function sortBy(table, column, ascending) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, key: row.cells[column].dataset.sort }));
  const filled = rows.filter(({ key }) => key !== "");
  const numeric = filled.every(({ key }) => !Number.isNaN(Number(key)));
  const order = ascending ? 1 : -1;
  filled.sort((a, b) =>
    order * (numeric ? a.key - b.key : a.key.localeCompare(b.key, "en", { numeric: true })));
  body.append(...filled.map(({ row }) => row));
  body.append(...rows.filter(({ key }) => key === "").map(({ row }) => row));
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  const titles = [...table.querySelectorAll("tr.titles th")];
  titles.forEach((title, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...title.childNodes);
    title.append(button);
    button.addEventListener("click", () => {
      const now = title.getAttribute("aria-sort");
      // The best of a metric first, names from A.
      const ascending = now ? now === "descending" : !title.classList.contains("number");
      titles.forEach((other) => other.removeAttribute("aria-sort"));
      title.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sortBy(table, column, ascending);
    });
  });
}

// Returns a function that shows anew what the chosen filter shows, after tags have changed.
function makeFilters(gallery) {
  const buttons = [...gallery.querySelectorAll("button[data-filter]")];
  const cards = [...gallery.querySelectorAll(".cards > li")];
  const count = gallery.querySelector(".count");
  const whole = count.textContent;
  const hasTag = (card, tag) => tag === "all" || card.dataset.tags.split(" ").includes(tag);
  let wanted = "all";
  const show = () => {
    for (const button of buttons) {
      const n = cards.filter((card) => hasTag(card, button.dataset.filter)).length;
      button.querySelector("span").textContent = n;
      button.hidden = n === 0;
      if (n === 0 && wanted === button.dataset.filter) wanted = "all";
    }
    buttons.forEach((button) =>
      button.setAttribute("aria-pressed", String(button.dataset.filter === wanted)));
    cards.forEach((card) => { card.hidden = !hasTag(card, wanted); });
    const shown = cards.filter((card) => !card.hidden).length;
    count.textContent = wanted === "all" ? whole : `${shown} of ${whole}`;
  };
  for (const button of buttons) {
    button.addEventListener("click", () => { wanted = button.dataset.filter; show(); });
  }
  return show;
}

const showAgain = new Map();
for (const gallery of document.querySelectorAll(".gallery")) {
  showAgain.set(gallery, makeFilters(gallery));
}

const mistakeNames = ["false alarm", "missed"];
const isMistake = (score, label, threshold) => (score > threshold) !== Boolean(label);

function setTag(card, tag, isSet) {
  const tags = card.dataset.tags.split(" ").filter((other) => other !== tag);
  card.dataset.tags = [...tags, ...(isSet ? [tag] : [])].join(" ");
}

function judgeCards(gallery, threshold, usual) {
  for (const card of gallery.querySelectorAll(".cards > li")) {
    const score = Number(card.dataset.score);
    const label = Number(card.dataset.tags.split(" ").includes("defective"));
    const isWrong = isMistake(score, label, threshold);
    const badge = card.querySelector(".score strong");
    badge.textContent = isWrong ? mistakeNames[label] : "";
    badge.hidden = !isWrong;
    setTag(card, "mistake", isWrong);
    setTag(card, "moved", (score > threshold) !== (score > usual));
  }
  showAgain.get(gallery)();
}

function moveMark(mark, threshold, text) {
  const [low, high, start, end] =
    ["low", "high", "start", "end"].map((key) => Number(mark.dataset[key]));
  const scale = mark.dataset.scale === "log" ? Math.log : (value) => value;
  const within = Math.min(Math.max(threshold, low), high);
  const x = start + (scale(within) - scale(low)) / (scale(high) - scale(low)) * (end - start);
  const [line, label] = [mark.querySelector("line"), mark.querySelector("text")];
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
  label.setAttribute("x", x);
  label.textContent = `threshold ${text}`;
  label.setAttribute("text-anchor", x < start + 60 ? "start" : x > end - 48 ? "end" : "middle");
}

// As format_number of the charts.
function asText(value) {
  const isLarge = Math.abs(value) >= 1000 && Math.abs(value) < 1e7;
  return isLarge ? value.toFixed(0) : String(Number(value.toPrecision(4)));
}

function listNames(images) {
  const names = images.slice(0, 5).map(([, label, path]) => `${path}${label ? " (defective)" : ""}`);
  const rest = images.length - names.length;
  return names.join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}

function makeSlider(panel) {
  const images = JSON.parse(panel.querySelector("script").textContent);
  const usual = Number(panel.dataset.threshold);
  const body = panel.closest(".run-body");
  const [mark, gallery] = [body.querySelector("svg [data-scale]"), body.querySelector(".gallery")];
  const find = (name) => panel.querySelector(name);
  // Between two neighbouring scores no part changes sides, so one threshold is enough.
  const scores = [...new Set(images.map(([score]) => score))].sort((a, b) => a - b);
  const between = scores.slice(1).map((score, i) => (score + scores[i]) / 2);
  const room = (scores.at(-1) - scores[0]) * 0.01 || Math.abs(scores[0]) * 0.01 || 1;
  const stops = [scores[0] - room, ...between, scores.at(-1), usual].sort((a, b) => a - b);
  const range = find("input");
  const show = () => {
    const threshold = stops[range.value];
    const text = asText(threshold);
    const judged = [0, 1].map((label) => images.filter((image) => image[1] === label));
    const wrong = judged.map((parts, label) =>
      parts.filter(([score]) => isMistake(score, label, threshold)).length);
    [["stopped", 0], ["missed", 1]].forEach(([name, label]) => {
      const [n, total] = [wrong[label], judged[label].length];
      find(`.${name}`).textContent = total ? `${n} of ${total}` : "no parts";
      find(`.${name}-share`).textContent = total ? `${(100 * n / total).toFixed(1)} %` : "";
    });
    find(".at").textContent = text;
    find(".from").textContent = threshold === usual ? "as in the run" : `in the run ${asText(usual)}`;
    range.setAttribute("aria-valuetext", `${text}: ${find(".stopped").textContent} good parts ` +
      `stopped, ${find(".missed").textContent} defective parts missed`);
    const now = images.filter(([score]) => score > threshold && score <= usual);
    const before = images.filter(([score]) => score <= threshold && score > usual);
    find(".moves").textContent = [
      now.length ? `Now stopped: ${listNames(now)}.` : "",
      before.length ? `Now passing: ${listNames(before)}.` : "",
    ].join(" ").trim() || "No image changes sides.";
    if (mark) moveMark(mark, threshold, text);
    if (gallery) judgeCards(gallery, threshold, usual);
  };
  const reset = () => { range.value = stops.indexOf(usual); show(); };
  range.max = stops.length - 1;
  range.addEventListener("input", show);
  find(".reset").addEventListener("click", reset);
  panel.hidden = false;
  reset();
}

document.querySelectorAll(".threshold-panel").forEach(makeSlider);

function unfoldTarget() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}

addEventListener("hashchange", unfoldTarget);
unfoldTarget();
