// What this adds to the page, which works without it: a viewer, marks without a new page, more answers while one scrolls,
// ranges of a selection, pictures that are dropped or pasted, and keys.
"use strict";
const $ = id => document.getElementById(id);
const ask = $("ask"), file = $("file"), slider = $("at_least"), tiles = $("tiles"), viewer = $("viewer");
const photos = () => [...tiles.querySelectorAll("figure > a.photo")];
const say = text => { $("live").textContent = $("said").textContent = text; };

// Answers of the server, or null with a sentence on the page.
async function asked(address, options) {
  try {
    const answer = await fetch(address, options);
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => ({}));
    say(said.message || `The server answers ${answer.status}.`);
  } catch { say("The server does not answer."); }
  return null;
}

// Pictures, and the slider: arrow keys change it step by step, so that there Enter searches.
function takePictures() {
  const take = files => {
    const picture = [...files].find(f => f.type.startsWith("image/"));
    if (!picture) return false;
    const list = new DataTransfer();
    list.items.add(picture);
    file.files = list.files;
    ask.requestSubmit();
    return true;
  };
  document.addEventListener("paste", e => { if (take(e.clipboardData.files)) e.preventDefault(); });
  document.addEventListener("dragover", e => { e.preventDefault(); ask.classList.add("over"); });
  document.addEventListener("dragleave", () => ask.classList.remove("over"));
  document.addEventListener("drop", e => { e.preventDefault(); ask.classList.remove("over"); take(e.dataTransfer.files); });
  file.addEventListener("change", () => file.files.length && ask.requestSubmit());
  let dragged = false;
  slider.addEventListener("input", () => { $("share").textContent = Math.round(100 * slider.value) + " %"; });
  slider.addEventListener("pointerdown", () => { dragged = true; });
  slider.addEventListener("change", () => dragged && ask.requestSubmit());
  slider.addEventListener("keydown", e => { if (e.key === "Enter") ask.requestSubmit(); });
}

// Marks: the same forms, sent without leaving the page.
function show(figure, right) {
  figure.classList.toggle("good", right === "1");
  figure.classList.toggle("bad", right === "0");
  for (const button of figure.querySelectorAll("[data-mark]")) {
    const pressed = button.dataset.mark === right;
    button.setAttribute("aria-pressed", pressed);
    button.value = pressed ? "" : button.dataset.mark;
  }
}
async function mark(form, button) {
  const fields = new URLSearchParams(new FormData(form, button));
  const answer = await asked("/marks", {method: "POST", body: fields, headers: {Accept: "application/json"}});
  if (!answer) return;
  const marks = await answer.json();
  for (const entry of fields.getAll("entry")) {
    const figure = $("e" + entry.split(".")[0]);
    if (figure) show(figure, fields.get("right"));
  }
  $("right").textContent = marks.right;
  $("wrong").textContent = marks.wrong;
  $("counts").hidden = !(marks.right || marks.wrong);
  $("head").hidden = !(marks.right && marks.wrong);
  say("");
  pressed();
}

// More answers: those of the next page, below.
let loading = null;
function more(count) {
  return loading ??= loaded(count).finally(() => { loading = null; });
}
async function loaded(count) {
  const link = $("more"), address = new URL(link.href), top = address.searchParams.get("top");
  if (count) address.searchParams.set("top", count);
  const answer = await asked(address);
  if (!answer) return near.unobserve(link);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html"), next = page.getElementById("more");
  for (const figure of page.querySelectorAll("#tiles > figure")) if (!$(figure.id)) tiles.append(figure);
  $("status").replaceWith(page.getElementById("status"));
  if (next && count) {  // the pages after it are as long as before
    const onward = new URL(next.href);
    if (top) onward.searchParams.set("top", top); else onward.searchParams.delete("top");
    next.href = onward;
  }
  if (next) link.replaceWith(next); else link.parentElement.remove();
  if (next) near.observe(next);
  say(`${photos().length} answers.`);
}

// Where one was: a page that is gone back to, or loaded again, has its further answers, and stands where it stood.
function remember() {
  history.replaceState({shown: photos().length, y: scrollY}, "");
}
async function goBack() {
  const {shown, y} = history.state ?? {};
  if (shown > photos().length && $("more")) {
    await more(shown - photos().length);
    scrollTo(0, y);
  }
  addEventListener("pagehide", remember);
  if ($("more")) near.observe($("more"));
}
const near = new IntersectionObserver(seen => { if (seen.some(s => s.isIntersecting)) more(); }, {rootMargin: "600px"});

// A selection: with Shift, all between this answer and the last one that was clicked.
let last = null;
function pick(box, range) {
  const boxes = [...tiles.querySelectorAll(".pick")], [from, to] = [boxes.indexOf(last), boxes.indexOf(box)];
  if (range && from >= 0) boxes.slice(Math.min(from, to), Math.max(from, to) + 1).forEach(b => { b.checked = box.checked; });
  last = box;
  counted();
}
function counted() {
  $("selected").textContent = tiles.querySelectorAll(".pick:checked").length + " selected:";
}

// The viewer: one photo, with the map of the words over it.
let current = null, mapped = false;
function pressed() {
  if (!current) return;
  for (const button of viewer.querySelectorAll("[data-mark]")) {
    const same = current.querySelector(`[data-mark="${button.dataset.mark}"]`);
    button.hidden = !same;
    button.setAttribute("aria-pressed", same ? same.getAttribute("aria-pressed") : false);
  }
}
function view(link) {
  const all = photos(), at = all.indexOf(link), small = link.querySelector("img");
  current = link.parentElement;
  $("large").src = link.href;
  $("large").alt = small.alt;
  $("title").textContent = current.querySelector(".name").textContent;
  $("position").textContent = `${at + 1} of ${all.length}${$("more") ? " or more" : ""}`;
  $("facts").replaceChildren(...[".bar.first span", ".about p:not(:has(a))"].flatMap(s => [...current.querySelectorAll(s)])
    .map(part => Object.assign(document.createElement("p"), {textContent: part.textContent})));
  $("similar").href = current.querySelector(".marks a").href;
  $("before").disabled = at === 0;
  $("after").disabled = at + 1 === all.length && !$("more");
  $("where").hidden = !current.querySelector(".where");
  if (all[at + 1]) new Image().src = all[at + 1].href;
  say("");
  pressed();
  lay();
  if (!viewer.open) viewer.showModal();
}
async function step(by) {
  const at = photos().indexOf(current.querySelector("a.photo")) + by;
  if (at === photos().length && $("more")) await more();
  if (photos()[at]) view(photos()[at]);
}
async function lay() {
  const figure = current, link = figure.querySelector(".where");
  $("where").setAttribute("aria-pressed", mapped);
  $("map").hidden = true;
  if (!mapped || !link) return;
  say("Looking…");
  const answer = await asked(link.href + "&alone=1"), picture = answer && await answer.blob();
  if (!picture || figure !== current || !mapped) return;
  URL.revokeObjectURL($("map").src);
  $("map").src = URL.createObjectURL(picture);
  $("map").hidden = false;
  say("");
}
const inViewer = {};  // key -> what it does there; Escape closes a dialog by itself
function openViewer() {
  $("stage").append(Object.assign(new Image(), {id: "large"}), Object.assign(new Image(), {id: "map", hidden: true}));
  const does = {
    before: () => step(-1), after: () => step(1), close: () => viewer.close(),
    where: () => { mapped = !mapped; lay(); },
  };
  const press = kind => { const button = current.querySelector(`[data-mark="${kind}"]`); if (button) mark(button.form, button); };
  viewer.addEventListener("click", e => {
    const button = e.target.closest("button");
    if (e.target === viewer || e.target.matches(".stage")) viewer.close();
    else if (button && button.dataset.mark) press(button.dataset.mark);
    else if (button) does[button.id]();
  });
  Object.assign(inViewer, {ArrowLeft: does.before, ArrowRight: does.after, m: does.where});
  Object.assign(inViewer, {r: () => press("1"), w: () => press("0")});
  viewer.addEventListener("close", () => { current.querySelector("a.photo").focus(); current = null; });
}

function keys(e) {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (viewer.open) { if (inViewer[e.key]) { e.preventDefault(); inViewer[e.key](); } return; }
  const focus = document.activeElement, links = photos(), at = links.indexOf(focus);
  if (e.key === "Escape") focus.blur();
  if (focus.matches("input:not([type=checkbox]), select, textarea")) return;
  if (e.key === "/") { e.preventDefault(); ask.elements.q.focus(); }
  if (e.key === "j" && links.length) links[Math.min(at + 1, links.length - 1)].focus();
  if (e.key === "k" && links.length) links[Math.max(at - 1, 0)].focus();
  if (e.key === "x" && at >= 0) focus.parentElement.querySelector(".pick")?.click();
}

if (ask) {
  takePictures();
  openViewer();
  document.addEventListener("keydown", keys);
  document.addEventListener("submit", e => {
    if (e.submitter?.name === "right") { e.preventDefault(); mark(e.target, e.submitter); }
  });
  tiles.addEventListener("click", e => {
    const link = e.target.closest("a.photo"), box = e.target.closest(".pick");
    if (box) pick(box, e.shiftKey);
    if (!link || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    const other = e.shiftKey && link.parentElement.querySelector(".pick");
    if (other) { other.checked = !other.checked; pick(other, true); } else view(link);
  });
  $("selection")?.addEventListener("reset", () => { last = null; setTimeout(counted); });
  goBack();
}
