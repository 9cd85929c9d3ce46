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
  slider.addEventListener("change", () => form.requestSubmit());
  document.addEventListener("keydown", e => {
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) return;
    const links = [...document.querySelectorAll("#tiles figure > a")], at = links.indexOf(document.activeElement);
    if (e.key === "/") { e.preventDefault(); form.elements.q.focus(); }
    if (e.key === "j" && links.length) links[Math.min(at + 1, links.length - 1)].focus();
    if (e.key === "k" && links.length) links[Math.max(at - 1, 0)].focus();
  });
}
