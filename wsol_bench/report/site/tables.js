// Sorting and filtering: without this script every table is complete and stands as it was written.
"use strict";
(() => {
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  function keyOf(row, column) {
    const cell = row.cells[column];
    return cell === undefined ? "" : (cell.dataset.sort ?? cell.textContent.trim());
  }

  // Numbers before texts, empty cells last in both directions.
  function compare(a, b, sign) {
    if (a === "" || b === "") return (a === "") - (b === "");
    const x = Number(a), y = Number(b);
    if (!Number.isNaN(x) && !Number.isNaN(y)) return sign * (x - y);
    return sign * collator.compare(a, b);
  }

  function makeSortable(table) {
    const headings = [...table.tHead.rows[0].cells];
    const written = [...table.tBodies[0].rows];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        const now = heading.getAttribute("aria-sort");
        const next = now === null ? "ascending" : now === "ascending" ? "descending" : null;
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        const rows = [...written];
        if (next !== null) {
          heading.setAttribute("aria-sort", next);
          const sign = next === "ascending" ? 1 : -1;
          rows.sort((a, b) => compare(keyOf(a, column), keyOf(b, column), sign));
        }
        table.tBodies[0].append(...rows);
      });
    });
  }

  function makeFilter(block, table) {
    const rows = [...table.tBodies[0].rows];
    if (rows.length < 8) return;
    const title = block.querySelector("h3").textContent;
    const tools = block.querySelector("[data-tools]");
    const search = document.createElement("input");
    search.type = "search";
    search.placeholder = "Filter, for instance: ss BV-VT";
    search.setAttribute("aria-label", `Filter the table: ${title}`);
    const count = document.createElement("span");
    count.setAttribute("role", "status");
    tools.append(search);
    const marked = rows.map((row) => row.classList.contains("realistic") || row.querySelector(".realistic") !== null);
    let only = null;
    if (marked.some(Boolean) && !marked.every(Boolean)) {
      only = document.createElement("input");
      only.type = "checkbox";
      const label = document.createElement("label");
      label.append(only, " realistic only");
      tools.append(label);
      only.addEventListener("change", apply);
    }
    tools.append(count);
    const texts = rows.map((row) => [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase());
    function apply() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, index) => {
        row.hidden = !words.every((word) => texts[index].includes(word)) || (only?.checked && !marked[index]);
        shown += !row.hidden;
      });
      count.textContent = shown === rows.length ? `${rows.length} rows` : `${shown} of ${rows.length} rows`;
    }
    search.addEventListener("input", apply);
    apply();
  }

  for (const block of document.querySelectorAll(".table")) {
    const table = block.querySelector("table");
    makeSortable(table);
    makeFilter(block, table);
  }
})();
