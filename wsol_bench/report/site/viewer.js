// Opens an image of the gallery in a dialog: all its boxes, the threshold, and what the map would give elsewhere.
"use strict";
(() => {
  const { data, boxAt, iouOf, draw, picture, nearest } = wsol;
  const at = (id) => document.getElementById(`viewer-${id}`);
  const viewer = document.getElementById("viewer");
  const links = [...document.querySelectorAll("a.open")];
  const slider = at("tau");
  let open = null;
  slider.max = data.taus.length - 1;

  function show(link) {
    const gallery = data.galleries[link.dataset.gallery];
    const image = gallery.images[link.dataset.image];
    const model = data.models[gallery.model];
    open = { link, image, curve: model.curves[image.name], ...picture(image) };
    at("title").textContent = `${image.class}: ${image.id}`;
    at("frame").replaceChildren(open.img, open.svg);
    at("heat-label").hidden = image.heat === "";
    if (image.heat === "") at("heat").checked = false;
    if (!viewer.open) {
      slider.value = nearest(gallery.tau ?? data.taus[Math.round(data.taus.length / 4)]);
      viewer.showModal();
    }
    move();
  }

  function move() {
    const tau = data.taus[slider.value];
    const box = boxAt(open.curve, tau), found = iouOf(open.image, box);
    const ghosts = at("all").checked ? [1, 2, 3, 4, 5, 6, 7, 8, 9].map((tenth) => boxAt(open.curve, tenth / 10)) : [];
    open.img.src = at("heat").checked ? open.image.heat : open.image.file;
    draw(open.svg, open.image, box, ghosts.filter((one) => one !== null));
    at("tau-value").value = tau.toFixed(3);
    slider.setAttribute("aria-valuetext", `tau ${tau.toFixed(3)}`);
    const overlap = found === null ? "" : `IoU with the manual box ${found.toFixed(2)}. `;
    at("text").textContent = `${overlap}Classified as ${open.image.predicted}.`;
  }

  function step(by) {
    const place = links.indexOf(open.link) + by;
    if (place >= 0 && place < links.length) show(links[place]);
  }

  for (const link of links) {
    link.setAttribute("role", "button");
    link.setAttribute("aria-haspopup", "dialog");
    link.addEventListener("click", (event) => {
      event.preventDefault();
      show(link);
    });
    link.addEventListener("keydown", (event) => {
      if (event.key !== " ") return;
      event.preventDefault();
      show(link);
    });
  }
  slider.addEventListener("input", move);
  at("all").addEventListener("change", move);
  at("heat").addEventListener("change", move);
  at("previous").addEventListener("click", () => step(-1));
  at("next").addEventListener("click", () => step(1));
  at("close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("close", () => open?.link.focus());
})();
