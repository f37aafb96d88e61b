// Filters the rows of a report, keeps what is chosen in the address, and moves by keys.
// Without this script all rows are shown.
(() => {
  "use strict";
  const form = document.getElementById("filter");
  const STEP = 50, START = "#rows?";
  const rows = [...document.querySelectorAll(".row")];
  if (!rows.length) return;
  const count = document.getElementById("count"), more = document.getElementById("more");
  const texts = new Map();
  let limit = STEP, opened = "";

  const nameOf = (row) => row.querySelector(".id").textContent;
  const familyOf = (row) => row.closest(".family");

  function readText(row) {
    if (!texts.has(row)) {
      const parts = [...row.querySelectorAll(".id, pre, .body p")];
      texts.set(row, parts.map((part) => part.textContent).join("\n").toLowerCase());
    }
    return texts.get(row);
  }

  function readChoice() {
    const words = form.find.value.toLowerCase().split(/\s+/).filter(Boolean);
    return { show: form.show.value, point: form.point.value, apart: form.apart?.checked, words };
  }

  function fits(row, { show, point, apart, words }) {
    let flags = row.dataset.flags;
    if (point) {
      const place = familyOf(row).dataset.points.split(" ").indexOf(point);
      if (place < 0) return false;
      flags = flags.split(" ")[place];
    }
    const disputed = row.dataset.apart !== undefined;
    if (apart && !disputed) return false;
    if (show === "read" ? !(disputed || flags.includes("w")) : show !== "all" && !flags.includes(show)) return false;
    return words.every((word) => readText(row).includes(word));
  }

  function draw() {
    const choice = readChoice();
    let found = 0;
    for (const family of document.querySelectorAll(".family")) {
      let here = 0;
      for (const row of family.querySelectorAll(".row")) {
        const fitting = fits(row, choice);
        here += fitting;
        row.hidden = !fitting || (here > limit && nameOf(row) !== opened);
      }
      for (const cell of family.querySelectorAll("[data-of]")) {
        cell.classList.toggle("chosen", cell.dataset.of === choice.point);
      }
      family.hidden = !here;
      found = Math.max(found, here);
    }
    const fitting = rows.filter((row) => fits(row, choice)).length;
    count.textContent = `${fitting.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
    more.hidden = found <= limit;
    more.textContent = `show ${Math.min(STEP * 4, found - limit)} more`;
  }

  function save() {
    const chosen = new URLSearchParams();
    if (form.show.value !== form.show.options[0].value) chosen.set("show", form.show.value);
    if (form.point.value) chosen.set("point", form.point.value);
    if (form.apart?.checked) chosen.set("apart", "1");
    if (form.find.value) chosen.set("find", form.find.value);
    if (opened) chosen.set("row", opened);
    const text = chosen.toString();
    try {
      history.replaceState(null, "", text ? START + text : "#rows");
    } catch { /* the page works without an address of its own */ }
  }

  function choose(list, value) {
    list.value = [...list.options].some((option) => option.value === value) ? value : list.options[0].value;
  }

  function load() {
    const given = new URLSearchParams(location.hash.startsWith(START) ? location.hash.slice(START.length) : "");
    choose(form.show, given.get("show"));
    choose(form.point, given.get("point"));
    if (form.apart) form.apart.checked = given.has("apart");
    form.find.value = given.get("find") ?? "";
    const row = rows.find((one) => nameOf(one) === given.get("row"));
    opened = row ? nameOf(row) : "";
    if (row && !fits(row, readChoice())) choose(form.show, "all");
    limit = STEP;
    draw();
    if (row) {
      row.open = true;
      row.scrollIntoView({ block: "center" });
      row.querySelector("summary").focus({ preventScroll: true });
    } else if (location.hash.startsWith(START)) {
      document.getElementById("rows").scrollIntoView();
    }
  }

  function change() {
    limit = STEP;
    draw();
    save();
  }

  function move(step) {
    const shown = rows.filter((row) => !row.hidden && !familyOf(row).hidden);
    const place = shown.indexOf(document.activeElement?.closest(".row"));
    const next = shown[Math.min(Math.max(place + step, 0), shown.length - 1)];
    next?.querySelector("summary").focus();
    next?.scrollIntoView({ block: "nearest" });
  }

  form.addEventListener("input", change);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(change));
  more.addEventListener("click", () => { limit += STEP * 4; draw(); });
  addEventListener("hashchange", () => { if (location.hash.startsWith(START)) load(); });
  document.addEventListener("toggle", (event) => {
    if (!event.target.matches?.(".row")) return;
    const name = nameOf(event.target);
    opened = event.target.open ? name : opened === name ? "" : opened;
    save();
  }, true);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches?.("input[type=search]")) {
      if (event.key === "Escape") { form.find.value = ""; change(); form.find.blur(); }
      return;
    }
    if (event.target.matches?.("input, select, textarea")) return;
    if (event.key === "/") { event.preventDefault(); form.find.focus(); }
    if (event.key === "j") move(1);
    if (event.key === "k") move(-1);
  });
  form.hidden = false;
  load();
})();
