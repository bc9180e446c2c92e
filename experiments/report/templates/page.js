"use strict";
// Without this script the page shows the same; only the comforts are missing.
const players = [...document.querySelectorAll("audio")];

function mixtureOf(player) {
  return player.closest(".example");
}

for (const form of document.querySelectorAll(".controls")) {
  form.hidden = false;
  const part = form.parentElement;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => {
    const wanted = form.elements.group.value;
    for (const group of part.querySelectorAll(".group")) {
      group.hidden = wanted !== "" && group.dataset.group !== wanted;
      if (group.hidden) group.querySelectorAll("audio").forEach((player) => player.pause());
    }
  });
  form.elements.unfold.addEventListener("click", (event) => {
    const unfold = event.target.getAttribute("aria-expanded") === "false";
    part.querySelectorAll("details").forEach((details) => { details.open = unfold; });
    event.target.setAttribute("aria-expanded", unfold);
    event.target.textContent = unfold ? "Fold all" : "Unfold all";
  });
}

// One player at a time, so that two estimates of a mixture can be compared at the same moment.
document.addEventListener("play", (event) => {
  const player = event.target;
  const same = player.closest("section:not(.group)").querySelector("[name=same]").checked;
  for (const other of players) {
    if (other === player || other.paused) continue;
    if (same && mixtureOf(other) === mixtureOf(player)) player.currentTime = other.currentTime;
    other.pause();
  }
}, true);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") players.forEach((player) => player.pause());
  const step = { n: 1, p: -1 }[event.key];
  if (!step || event.target.tagName !== "AUDIO") return;
  const neighbours = [...mixtureOf(event.target).querySelectorAll("audio")];
  const next = neighbours[neighbours.indexOf(event.target) + step];
  if (next) {
    next.focus();
    next.play();
  }
});

document.addEventListener("toggle", (event) => {
  if (!event.target.open) event.target.querySelectorAll("audio").forEach((player) => player.pause());
}, true);
