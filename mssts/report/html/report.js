// Filters the rows of tables, and plays masks over frames. Sorting is vendor/sortable.min.js.
"use strict";

function filterRows(input) {
  const box = input.closest(".filter").nextElementSibling;
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  let label = null;
  let any = false;
  for (const body of box.querySelectorAll("tbody")) {
    if (body.classList.contains("label")) {
      label = body;
      label.hidden = true;
      continue;
    }
    const heading = label ? label.textContent.toLowerCase() : "";
    for (const row of body.rows) {
      const text = `${heading} ${row.textContent.toLowerCase()}`;
      row.hidden = !words.every((word) => text.includes(word));
      if (!row.hidden) {
        any = true;
        if (label) label.hidden = false;
      }
    }
    label = null;
  }
  box.nextElementSibling.hidden = any;
}

function load(source) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error(`${source} cannot be read`));
    image.src = source;
  });
}

async function startPlayer(player) {
  const [width, height, columns, count] = ["width", "height", "columns", "count"].map((key) => Number(player.dataset[key]));
  const canvases = [...player.querySelectorAll("canvas")];
  const [frames, ...masks] = await Promise.all([player.dataset.frames, ...canvases.map((one) => one.dataset.masks)].map(load));
  const play = player.querySelector(".play");
  const range = player.querySelector("[type=range]");
  const shown = player.querySelector("[type=checkbox]");
  const labels = player.querySelectorAll("output span");
  const scale = Math.max(1, Math.round(640 / width));
  let timer = null;

  function draw() {
    const frame = Number(range.value);
    const cell = [(frame % columns) * width, Math.floor(frame / columns) * height, width, height];
    labels.forEach((label, number) => { label.hidden = number !== frame; });
    canvases.forEach((canvas, number) => {
      const context = canvas.getContext("2d");
      const whole = [0, 0, canvas.width, canvas.height];
      context.imageSmoothingEnabled = true;
      context.drawImage(frames, ...cell, ...whole);
      if (!shown.checked) return;
      context.imageSmoothingEnabled = false;
      context.drawImage(masks[number], ...cell, ...whole);
    });
  }

  function toggle() {
    if (timer === null) {
      timer = setInterval(() => { range.value = (Number(range.value) + 1) % count; draw(); }, 200);
    } else {
      clearInterval(timer);
      timer = null;
    }
    play.textContent = timer === null ? "Play" : "Pause";
  }

  for (const canvas of canvases) [canvas.width, canvas.height] = [width * scale, height * scale];
  play.addEventListener("click", toggle);
  range.addEventListener("input", draw);
  shown.addEventListener("change", draw);
  draw();
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) toggle();
}

for (const input of document.querySelectorAll(".filter input")) input.addEventListener("input", () => filterRows(input));
for (const player of document.querySelectorAll(".player")) startPlayer(player);
