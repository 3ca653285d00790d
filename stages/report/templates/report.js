// The contact sheet. Every value from the data goes in as textContent or as an image's data: URL, never as markup.
"use strict";
(() => {
  const PAGE_SIZE = 24;
  const { samples, columns } = JSON.parse(document.getElementById("payload").textContent);
  const byId = (id) => document.getElementById(id);
  const [grid, pager, status, dialog] = ["grid", "pager", "status", "detail"].map(byId);
  const [search, editType] = ["search", "edit-type"].map(byId);
  const haystacks = samples.map((s) => [s.id, ...Object.values(s.fields)].join("\n").toLowerCase());
  let shown = samples.map((_, index) => index); // indices that pass the filter
  let page = 0;
  let open = -1; // place in `shown` of the sample in the dialog

  const el = (tag, className, ...children) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    node.append(...children.filter((child) => child !== null)); // strings become text nodes
    return node;
  };
  const dataText = (tag, className, ...children) => {
    const node = el(tag, className, ...children);
    node.dir = "auto";
    return node;
  };
  const plural = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
  const pages = () => Math.max(1, Math.ceil(shown.length / PAGE_SIZE));

  // `text` with the first whole-word `phrase` in it marked
  const marked = (text, phrase, tag) => {
    if (!phrase) return [text];
    const escaped = phrase.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const found = new RegExp(`(?<![\\p{L}\\p{N}])${escaped}(?![\\p{L}\\p{N}])`, "iu").exec(text);
    if (!found) return [text];
    const end = found.index + found[0].length;
    return [text.slice(0, found.index), el(tag, "", text.slice(found.index, end)), text.slice(end)];
  };

  const roleName = (role) => role.replaceAll("_", " ");

  const picture = ([role, url], sample) => {
    const image = el("img");
    image.src = url;
    image.alt = `${roleName(role)} image`;
    if (role === "source") image.alt += `: ${captionOf(sample) ?? sample.id}`;
    image.draggable = false;
    return image;
  };
  const captionOf = ({ fields }) => fields.source_caption ?? fields.caption ?? null;

  const editLines = (sample) => {
    const { fields } = sample;
    const caption = captionOf(sample);
    const line = (label, className, tag, ...content) =>
      el("span", `line ${className}`, el("span", "sr", `${label}: `), dataText(tag, "", ...content));
    return [
      fields.instruction ? line("instruction", "instruction", "span", fields.instruction) : null,
      caption === null ? null : line("caption", "caption", "span", ...marked(caption, fields.source_phrase, "del")),
      fields.target_caption
        ? line("target caption", "target", "span", ...marked(fields.target_caption, fields.target_phrase, "ins"))
        : null,
      fields.reverse_instruction ? line("reverse instruction", "reverse", "span", fields.reverse_instruction) : null,
    ];
  };

  const CARD_ORDER = ["anchor", "source", "source_mask", "target", "target_mask", "rejected", "region_mask", "soft_mask"];
  const SCORES = [
    ["direction", "pair_direction_cos"], ["images", "pair_image_cos"], ["DINO", "pair_dino_cos"],
    ["target", "target_caption_cos"], ["margin", "target_margin_cos"], ["outside", "outside_ssim"],
  ];

  // the scores of a pair that have a value, in one line
  const scoreLine = ({ fields }) => {
    const found = SCORES.filter(([, column]) => (fields[column] ?? null) !== null);
    if (!found.length) return null;
    return el("span", "scores", ...found.map(([label, column]) => {
      const score = el("span", "", `${label} ${Number(fields[column]).toFixed(2)}`);
      score.title = column;
      return score;
    }));
  };

  const card = (place) => {
    const sample = samples[shown[place]];
    const images = CARD_ORDER.flatMap((wanted) => sample.images.filter(([role]) => role === wanted));
    const type = sample.fields.edit_type;
    const button = el(
      "button", "card",
      el("span", "pictures", ...images.map((image) => picture(image, sample))),
      el("span", "words", ...editLines(sample), scoreLine(sample), type ? dataText("span", "chip", type) : null),
    );
    button.type = "button";
    button.dataset.place = String(place);
    button.setAttribute("aria-haspopup", "dialog");
    button.addEventListener("click", () => showDetail(place));
    return el("li", "", button);
  };

  const draw = () => {
    const from = page * PAGE_SIZE;
    const places = [...Array(Math.min(PAGE_SIZE, shown.length - from)).keys()].map((i) => from + i);
    grid.replaceChildren(...places.map(card));
    const all = shown.length === samples.length;
    status.textContent = all ? plural(samples.length, "sample") : `${shown.length} of ${plural(samples.length, "sample")} match`;
    byId("page-now").textContent = `Page ${page + 1} of ${pages()}`;
    byId("page-back").disabled = page === 0;
    byId("page-on").disabled = page === pages() - 1;
    pager.hidden = pages() === 1;
  };

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    shown = [];
    samples.forEach((sample, index) => {
      const isType = editType.value === "" || sample.fields.edit_type === editType.value.slice(1);
      if (isType && words.every((word) => haystacks[index].includes(word))) shown.push(index);
    });
    page = 0;
    draw();
  };

  const turn = (to) => {
    page = Math.min(Math.max(to, 0), pages() - 1);
    draw();
  };

  // Focus the card at `place` of the filtered samples, on whichever page it is.
  const focusCard = (place) => {
    if (place < 0 || place >= shown.length) return;
    const wanted = Math.floor(place / PAGE_SIZE);
    if (wanted !== page) turn(wanted);
    grid.children[place - page * PAGE_SIZE].firstChild.focus();
  };

  const showDetail = (place) => {
    open = place;
    const sample = samples[shown[place]];
    byId("detail-place").textContent = `Sample ${place + 1} of ${shown.length}`;
    byId("detail-h").textContent = sample.id;
    byId("detail-back").disabled = place === 0;
    byId("detail-on").disabled = place === shown.length - 1;
    byId("detail-images").replaceChildren(
      ...sample.images.map((image) =>
        el("figure", "", picture(image, sample), el("figcaption", "", roleName(image[0])))),
    );
    byId("detail-edit").replaceChildren(...editLines(sample).filter((line) => line !== null));
    byId("detail-fields").replaceChildren(...Object.entries(sample.fields).flatMap(fieldRow));
    if (!dialog.open) dialog.showModal();
    dialog.firstElementChild.scrollTop = 0;
    byId("detail-h").focus();
  };

  const fieldRow = ([name, value]) => {
    const [unit, meaning] = Object.hasOwn(columns, name) ? columns[name] : ["", ""];
    const term = el("dt", "", el("code", "", name));
    term.title = meaning;
    const about = meaning ? `${meaning} (${unit})` : "";
    const shownValue = value === null ? el("span", "quiet", "no value") : dataText("span", "value", value);
    return [term, el("dd", "", shownValue, about ? el("span", "about", about) : null)];
  };

  const step = (by) => {
    const place = open + by;
    if (place >= 0 && place < shown.length) showDetail(place);
  };

  grid.addEventListener("keydown", (event) => {
    const here = event.target.closest(".card");
    if (!here || event.altKey || event.ctrlKey || event.metaKey) return;
    const tops = [...grid.children].map((item) => item.offsetTop);
    const perRow = tops.filter((top) => top === tops[0]).length;
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -perRow, ArrowDown: perRow };
    const place = Number(here.dataset.place);
    if (event.key in moves) focusCard(place + moves[event.key]);
    else if (event.key === "Home") focusCard(page * PAGE_SIZE);
    else if (event.key === "End") focusCard(Math.min((page + 1) * PAGE_SIZE, shown.length) - 1);
    else return;
    event.preventDefault();
  });

  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // the backdrop
  });
  dialog.addEventListener("close", () => focusCard(open));

  byId("detail-back").addEventListener("click", () => step(-1));
  byId("detail-on").addEventListener("click", () => step(1));
  byId("detail-close").addEventListener("click", () => dialog.close());
  byId("page-back").addEventListener("click", () => turn(page - 1));
  byId("page-on").addEventListener("click", () => turn(page + 1));
  search.addEventListener("input", filter);
  editType.addEventListener("change", filter);

  const types = new Map();
  for (const { fields } of samples) {
    const type = fields.edit_type ?? "";
    types.set(type, (types.get(type) ?? 0) + 1);
  }
  for (const [type, number] of [...types].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const option = el("option", "", `${type || "none"} (${number.toLocaleString("en")})`);
    option.value = `=${type}`; // so that "none" differs from "all"
    editType.append(option);
  }
  editType.closest("label").hidden = [...types.keys()].every((type) => type === "");
  for (const [name, role] of [["paired", "target"], ["masked", "source_mask"], ["anchored", "anchor"], ["regional", "region_mask"]]) {
    grid.classList.toggle(name, samples.some(({ images }) => images.some(([own]) => own === role)));
  }
  document.querySelector(".toolbar").hidden = false;
  draw();
})();
