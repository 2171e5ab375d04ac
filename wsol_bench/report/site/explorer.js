// The threshold explorer: one slider moves the boxes of the gallery and the accuracy against every set of boxes.
"use strict";
(() => {
  const { data, accuracy, boxAt, iouOf, draw, element, picture, nearest } = wsol;
  if (data.models.length === 0) return;
  const at = (id) => document.getElementById(`ex-${id}`);
  const [model, level, slider] = [at("model"), at("level"), at("tau")];
  const AREA = { left: 44, right: 630, top: 12, bottom: 284 };
  const DASHES = ["", "8 4", "3 3", "9 3 2 3", "2 4", "14 4"];
  let curves = [];
  let cards = [];

  const index = (name) => data.sources.find((source) => source.name === name)?.index ?? 0;
  const x = (tau) => AREA.left + tau * (AREA.right - AREA.left);
  const y = (percent) => AREA.bottom - (percent / 100) * (AREA.bottom - AREA.top);
  const current = () => data.models[model.value];
  const title = (set) => (set.name === "test" ? "test, manual boxes" : `val, ${set.name === "gt" ? "manual" : set.name} boxes`);
  const look = (set) => (set.name === "test" ? { class: "test" }
    : { class: `s${index(set.name)}`, "stroke-dasharray": DASHES[index(set.name)] });

  function option(select, value, text) {
    select.append(new Option(text, value));
  }

  function computeCurves() {
    curves = current().sets.map((set) => ({ set, values: data.taus.map((tau) => accuracy(set, level.value, tau)) }));
    for (const curve of curves) curve.best = curve.values.indexOf(Math.max(...curve.values));
  }

  function drawChart() {
    const chart = at("chart");
    chart.replaceChildren();
    for (let percent = 0; percent <= 100; percent += 20) {
      chart.append(element("line", { class: "axis", x1: AREA.left, x2: AREA.right, y1: y(percent), y2: y(percent) }));
      label(chart, AREA.left - 8, y(percent) + 4, `${percent}`, "end");
    }
    for (let tau = 0; tau <= 10; tau += 2) label(chart, x(tau / 10), AREA.bottom + 18, `${tau / 10}`, "middle");
    label(chart, (AREA.left + AREA.right) / 2, AREA.bottom + 34, "tau", "middle");
    for (const { set, values } of [...curves].reverse()) {
      const path = values.map((value, place) => `${place ? "L" : "M"}${x(data.taus[place]).toFixed(1)},${y(value).toFixed(1)}`);
      chart.append(element("path", { d: path.join(""), ...look(set) }));
    }
    chart.append(element("line", { class: "now", id: "ex-now", y1: AREA.top, y2: AREA.bottom }));
    for (const mark of marks()) {
      chart.append(element("circle", { class: `s${index(mark.source)}`, cx: x(mark.tau), cy: y(mark.value), r: 5 }));
    }
  }

  function label(chart, left, top, text, anchor) {
    const made = element("text", { x: left, y: top, "text-anchor": anchor });
    made.textContent = text;
    chart.append(made);
  }

  const marks = () => current().marks.filter((mark) => mark.level === Number(level.value));

  function drawMarks() {
    const group = at("marks");
    group.replaceChildren();
    if (marks().length === 0) group.textContent = "No source froze a threshold for this model on validation images.";
    for (const mark of marks()) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `frozen by ${mark.source}: ${mark.tau.toFixed(3)}`;
      button.addEventListener("click", () => {
        slider.value = nearest(mark.tau);
        move();
      });
      group.append(button);
    }
  }

  function drawTable() {
    const body = at("table").tBodies[0];
    body.replaceChildren();
    for (const curve of curves) {
      const row = body.insertRow();
      const name = document.createElement("th");
      name.scope = "row";
      const key = document.createElement("span");
      key.className = "key";
      const line = element("svg", { width: 22, height: 10, "aria-hidden": "true" });
      line.append(element("line", { x1: 1, x2: 21, y1: 5, y2: 5, ...look(curve.set) }));
      key.append(line, title(curve.set));
      name.append(key);
      row.append(name);
      curve.cell = row.insertCell();
      const best = row.insertCell(), tau = row.insertCell();
      best.textContent = curve.values[curve.best].toFixed(2);
      tau.textContent = data.taus[curve.best].toFixed(3);
      for (const cell of [curve.cell, best, tau]) cell.className = "number";
      curve.cell.dataset.set = curve.set.name;
    }
  }

  function drawCards() {
    const images = data.galleries.find((gallery) => gallery.method === current().method).images;
    cards = Object.values(images).map((image) => {
      const figure = document.createElement("figure");
      figure.className = "card";
      const frame = document.createElement("span");
      frame.className = "frame";
      const { img, svg } = picture(image);
      img.loading = "lazy";
      frame.append(img, svg);
      const caption = document.createElement("figcaption");
      figure.append(frame, caption);
      return { image, figure, svg, caption, curve: current().curves[image.name] };
    });
    at("cards").replaceChildren(...cards.map((card) => card.figure));
  }

  // Everything that follows the slider.
  function move() {
    const place = Number(slider.value), tau = data.taus[place];
    at("tau-value").value = tau.toFixed(3);
    slider.setAttribute("aria-valuetext", `tau ${tau.toFixed(3)}`);
    const now = at("now");
    now.setAttribute("x1", x(tau));
    now.setAttribute("x2", x(tau));
    for (const curve of curves) {
      curve.cell.textContent = curve.values[place].toFixed(2);
      curve.cell.dataset.value = curve.values[place];
    }
    const test = curves[0].values[place], gap = curves[0].values[curves[0].best] - test;
    at("summary").textContent = `At tau ${tau.toFixed(3)}, ${test.toFixed(1)} % of the test images are localized`
      + (gap > 0 ? `, ${gap.toFixed(1)} points below the best threshold of the test set.` : ", the best that any threshold gives on the test set.");
    for (const card of cards) {
      const box = boxAt(card.curve, tau), found = iouOf(card.image, box);
      draw(card.svg, card.image, box);
      const hit = found !== null && found >= data.levels[level.value];
      const word = document.createElement("span");
      word.className = hit ? "hit" : "miss";
      word.textContent = found === null ? "" : `${hit ? "right" : "wrong"}, IoU ${found.toFixed(2)}`;
      card.caption.replaceChildren(word, ` ${card.image.split}`);
    }
  }

  function changeModel() {
    drawCards();
    changeLevel();
  }

  function changeLevel() {
    computeCurves();
    drawChart();
    drawMarks();
    drawTable();
    move();
  }

  data.models.forEach((one, place) =>
    option(model, place, `${one.method}: ${one.label}, epoch ${one.epoch} (chosen by ${one.sources.join(", ")})`));
  data.levels.forEach((one, place) => option(level, place, `${one}`));
  level.value = data.selectionLevel;
  slider.max = data.taus.length - 1;
  const first = marks()[0];
  slider.value = first === undefined ? Math.round(data.taus.length / 4) : nearest(first.tau);
  document.getElementById("explorer-app").hidden = false;
  model.addEventListener("change", changeModel);
  level.addEventListener("change", changeLevel);
  slider.addEventListener("input", move);
  changeModel();
})();
