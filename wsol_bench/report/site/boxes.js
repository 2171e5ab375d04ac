// What explorer and viewer share: box curves, IoU and accuracy, by the rules of the evaluator.
"use strict";
const wsol = (() => {
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const SVG = "http://www.w3.org/2000/svg";

  // The cut of an 8-bit map: truncation of a product in double precision, as the evaluator has it.
  const cutOf = (tau, max) => Math.floor(tau * max);

  // Percent of images whose box overlaps enough: an image is right where an odd number of its switches is passed.
  function accuracy(set, level, tau) {
    const switches = set.switches[level];
    let right = 0;
    for (let image = 0; image < switches.length; image++) {
      const cut = cutOf(tau, set.max[image]);
      let passed = 0;
      for (const at of switches[image]) {
        if (at > cut) break;
        passed++;
      }
      right += passed % 2;
    }
    return (100 * right) / switches.length;
  }

  // The box of a curve at a threshold, or null where nothing exceeds it.
  function boxAt(curve, tau) {
    const cut = cutOf(tau, curve.max);
    let step = 0;
    while (step + 1 < curve.cuts.length && curve.cuts[step + 1] <= cut) step++;
    const box = curve.boxes.slice(4 * step, 4 * step + 4);
    return box.some((corner) => corner !== 0) ? box : null;
  }

  function iou(a, b) {
    const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]) + 1;
    const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]) + 1;
    if (width <= 0 || height <= 0) return 0;
    const area = (box) => (box[2] - box[0] + 1) * (box[3] - box[1] + 1);
    return (width * height) / (area(a) + area(b) - width * height);
  }

  const manual = (image) => image.boxes.filter((one) => one.kind === "manual").map((one) => one.box);

  // IoU of the predicted box with the best manual box; null where there is no manual box.
  function iouOf(image, box) {
    const known = manual(image);
    if (known.length === 0) return null;
    return Math.max(...known.map((one) => iou(box ?? [0, 0, 0, 0], one)));
  }

  function element(name, attributes) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  function drawBox(svg, box, kind) {
    const place = { x: box[0], y: box[1], width: box[2] - box[0] + 1, height: box[3] - box[1] + 1 };
    if (kind !== "ghost") svg.append(element("rect", { class: "halo", ...place }));
    svg.append(element("rect", { class: kind, ...place }));
  }

  // Draws the boxes of an image: ghosts, then manual boxes and those of sources, then the predicted one.
  function draw(svg, image, predicted, ghosts = []) {
    svg.replaceChildren();
    ghosts.forEach((box) => drawBox(svg, box, "ghost"));
    for (const one of image.boxes) {
      if (one.kind !== "predicted") drawBox(svg, one.box, one.kind === "source" ? `source s${one.index}` : one.kind);
    }
    if (predicted !== null) drawBox(svg, predicted, "predicted");
  }

  function picture(image) {
    const img = document.createElement("img");
    Object.assign(img, { src: image.file, alt: image.alt, width: image.width, height: image.height });
    if (image.width <= 128) img.className = "small";
    const svg = element("svg", {
      viewBox: `0 0 ${data.frame} ${data.frame}`, preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false",
    });
    return { img, svg };
  }

  // The place on the grid that is nearest to a threshold.
  function nearest(tau) {
    let best = 0;
    data.taus.forEach((one, place) => {
      if (Math.abs(one - tau) < Math.abs(data.taus[best] - tau)) best = place;
    });
    return best;
  }

  return { data, accuracy, boxAt, iouOf, draw, element, picture, nearest };
})();
