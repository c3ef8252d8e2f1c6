/* Lays the two pictures of a .before-after on each other, with a slider between them.
   Without JavaScript both stay visible, one beside the other. */
"use strict";

function makeSlider(box) {
  const [before, after] = box.querySelectorAll("img");
  if (!after) return;
  const stage = document.createElement("div");
  stage.className = "ba-stage";
  const sides = [after, before].map((picture) => {
    const side = document.createElement("div");
    side.className = picture === before ? "ba-before" : "ba-after";
    const label = document.createElement("span");
    label.className = "ba-label";
    label.setAttribute("aria-hidden", "true");
    label.textContent = picture.alt;
    side.append(picture, label);
    return side;
  });
  const line = document.createElement("div");
  line.className = "ba-line";
  const range = document.createElement("input");
  Object.assign(range, { type: "range", min: 0, max: 100, step: 1, value: 50, className: "ba-range" });
  range.setAttribute("aria-label", `Divider between "${before.alt}" (left) and "${after.alt}" (right)`);
  const move = () => {
    stage.style.setProperty("--ba", `${range.value}%`);
    range.setAttribute("aria-valuetext", `${range.value} % ${before.alt}`);
  };
  range.addEventListener("input", move);
  stage.append(...sides, line, range);
  box.replaceChildren(stage);
  box.classList.add("ba-ready");
  move();
}

document.addEventListener("DOMContentLoaded", () =>
  document.querySelectorAll(".before-after").forEach(makeSlider)
);
