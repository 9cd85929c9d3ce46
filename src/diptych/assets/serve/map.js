// What this adds to the map, whose photos are links without it: a lasso, the wall of the photos in it, and their table.
"use strict";
const $ = id => document.getElementById(id);
const map = $("map"), lasso = $("lasso"), form = $("selection");
const WALL = 120;  // photos of the lasso that are shown at once

// A place on the screen in the units of the map.
function place(e) {
  return new DOMPoint(e.clientX, e.clientY).matrixTransform(map.getScreenCTM().inverse());
}
function inside(polygon, x, y) {
  let odd = false;
  polygon.forEach((a, i) => {
    const b = polygon[(i + 1) % polygon.length];
    if ((a.y > y) !== (b.y > y) && x < (b.x - a.x) * (y - a.y) / (b.y - a.y) + a.x) odd = !odd;
  });
  return odd;
}

let chosen = [];
function choose(links) {
  for (const link of chosen) link.classList.remove("chosen");
  chosen = links;
  for (const link of chosen) link.classList.add("chosen");
  form.hidden = !chosen.length;
  $("selected").textContent = `${chosen.length} chosen:`;
  $("live").textContent = chosen.length > WALL ? `The first ${WALL} of ${chosen.length} are shown below.` : "";
  $("entries").replaceChildren(...chosen.map(link =>
    Object.assign(document.createElement("input"), {type: "hidden", name: "entry", value: link.dataset.number})));
  $("tiles").replaceChildren(...chosen.slice(0, WALL).map(tile));
}
function tile(link) {
  const figure = document.createElement("figure"), photo = document.createElement("a"), name = document.createElement("p");
  const picture = Object.assign(new Image(), {loading: "lazy", width: 320, height: 240});
  const address = `/photo/${encodeURIComponent(map.dataset.index)}/${link.dataset.number}?v=${link.dataset.version}`;
  Object.assign(picture, {src: address, alt: link.querySelector("title").textContent});
  Object.assign(photo, {className: "photo", href: address + "&side=1024"});
  Object.assign(name, {className: "name", textContent: link.dataset.name, title: link.dataset.path});
  figure.className = "tile";
  photo.append(picture);
  figure.append(photo, document.createElement("figcaption"));
  figure.lastChild.append(name);
  return figure;
}

// The lasso: a drag of more than a few units; anything shorter is a click on a photo.
let line = null;
function draw() {
  lasso.setAttribute("d", line ? "M" + line.map(p => `${p.x.toFixed(1)} ${p.y.toFixed(1)}`).join("L") + "Z" : "");
}
function long() {
  return line && line.some(p => Math.hypot(p.x - line[0].x, p.y - line[0].y) > 8);
}
function takeLasso() {
  map.addEventListener("dragstart", e => e.preventDefault());
  map.addEventListener("pointerdown", e => {
    if (e.button !== 0) return;
    line = [place(e)];
  });
  map.addEventListener("pointermove", e => {
    if (!line) return;
    line.push(place(e));
    if (long()) { map.setPointerCapture(e.pointerId); draw(); }
  });
  const end = () => {
    if (long()) {
      const centre = link => { const dot = link.querySelector("circle"); return [dot.cx.baseVal.value, dot.cy.baseVal.value]; };
      choose([...map.querySelectorAll("a")].filter(link => inside(line, ...centre(link))));
      map.addEventListener("click", e => e.preventDefault(), {once: true, capture: true});
      setTimeout(() => { line = null; });
    } else line = null;
  };
  map.addEventListener("pointerup", end);
  map.addEventListener("pointercancel", () => { line = null; draw(); });
}

// A table of the chosen photos, with the label that was written, as `diptych` reads it.
function save() {
  const quoted = text => `"${text.replaceAll('"', '""')}"`, label = $("label").value.trim();
  const rows = chosen.map(link => quoted(link.dataset.path) + (label ? "," + quoted(label) : ""));
  const table = new Blob([["path" + (label ? ",label" : ""), ...rows, ""].join("\n")], {type: "text/csv"});
  const link = Object.assign(document.createElement("a"), {href: URL.createObjectURL(table), download: "photos.csv"});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

if (map) {
  takeLasso();
  $("save").addEventListener("click", save);
  form.addEventListener("reset", () => { choose([]); lasso.setAttribute("d", ""); });
  document.addEventListener("keydown", e => { if (e.key === "Escape") form.reset(); });
}
