// What this adds to the page: pictures may be dropped or pasted, the slider shows its share, keys move between answers.
"use strict";
const form = document.getElementById("ask"), file = document.getElementById("file");
const slider = document.getElementById("at_least"), share = document.getElementById("share");
if (form && file && slider) {
  const take = files => {
    const pictures = [...files].filter(f => f.type.startsWith("image/"));
    if (!pictures.length) return false;
    const held = new DataTransfer();
    held.items.add(pictures[0]);
    file.files = held.files;
    form.requestSubmit();
    return true;
  };
  document.addEventListener("paste", e => { if (take(e.clipboardData.files)) e.preventDefault(); });
  document.addEventListener("dragover", e => { e.preventDefault(); form.classList.add("over"); });
  document.addEventListener("dragleave", () => form.classList.remove("over"));
  document.addEventListener("drop", e => { e.preventDefault(); form.classList.remove("over"); take(e.dataTransfer.files); });
  file.addEventListener("change", () => file.files.length && form.requestSubmit());
  slider.addEventListener("input", () => { share.textContent = Math.round(100 * slider.value) + " %"; });
  let dragged = false;  // arrow keys change the slider step by step: there Enter searches
  slider.addEventListener("pointerdown", () => { dragged = true; });
  slider.addEventListener("change", () => dragged && form.requestSubmit());
  slider.addEventListener("keydown", e => { if (e.key === "Enter") form.requestSubmit(); });
  document.addEventListener("keydown", e => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === "Escape") document.activeElement.blur();
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) return;
    const links = [...document.querySelectorAll("#tiles figure > a")], at = links.indexOf(document.activeElement);
    if (e.key === "/") { e.preventDefault(); form.elements.q.focus(); }
    if (e.key === "j" && links.length) links[Math.min(at + 1, links.length - 1)].focus();
    if (e.key === "k" && links.length) links[Math.max(at - 1, 0)].focus();
  });
}
