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

for (const gallery of document.querySelectorAll(".gallery")) {
  const buttons = [...gallery.querySelectorAll("button[data-filter]")];
  const cards = [...gallery.querySelectorAll(".cards > li")];
  const count = gallery.querySelector(".count");
  const whole = count.textContent;
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const wanted = button.dataset.filter;
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      let shown = 0;
      for (const card of cards) {
        card.hidden = wanted !== "all" && !card.dataset.tags.split(" ").includes(wanted);
        shown += card.hidden ? 0 : 1;
      }
      count.textContent = wanted === "all" ? whole : `${shown} of ${whole}`;
    });
  }
}

function unfoldTarget() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}

addEventListener("hashchange", unfoldTarget);
unfoldTarget();
