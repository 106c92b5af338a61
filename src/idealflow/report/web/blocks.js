"use strict";
// The blocks of sections: facts, notes, tables, figures, what is missing.

const FIGURES = new Map(); // element → block, for a change of theme

const SQUARE = /^parity-/, WIDE = /^(uncertainty|map-.*)$/;

function drawBlock(block) {
  return { figure: drawFigure, table: drawTable, facts: drawFacts, note: drawNote, missing: drawMissing, steps: drawSteps }[block.kind](block);
}

function drawNote(block) {
  return make("p", { class: block.warning ? "note warning wide" : "note wide", role: block.warning ? "alert" : null }, block.text);
}

function drawMissing(block) {
  return make("div", { class: "missing" }, make("h3", {}, block.title), make("p", {}, block.text));
}

function drawFacts(block) {
  const items = block.items.map((fact) =>
    make("div", { class: "fact" }, make("dt", {}, fact.name), make("dd", {}, unbroken(fact.value)), hint(fact.hint, fact.name)));
  return make("dl", { class: "facts wide" }, ...items);
}

function drawSteps(block) {
  const rows = block.items.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]);
  return make("div", { class: "wide" }, make("h3", {}, block.title), make("dl", { class: "steps" }, ...rows));
}

const NUMBER = /^[-−]?[\d\u202f]+(\.\d+)?(e[-+]?\d+)?$|^[–∞]$/;

function drawTable(block) {
  const head = make("tr", {}, ...block.columns.map((c) => make("th", { scope: "col" }, unbroken(c.name), hint(c.hint, c.name))));
  const rows = block.rows.map((row) => make("tr", {}, ...row.map((text) => make("td", { class: NUMBER.test(text) ? "number" : text.length > 40 ? "long" : null }, text))));
  const whole = make("div", { class: "scroll", tabindex: "0" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
  const caption = block.hint ? make("p", { class: "caption" }, block.hint) : null;
  if (block.folded) return make("details", { class: "wide" }, make("summary", {}, block.title), caption, whole);
  return make("div", { class: "wide" }, make("h3", {}, block.title), caption, whole);
}

function drawFigure(block) {
  const plot = make("div", { class: "plot", id: `plot-${block.key}`, role: "img", "aria-label": `${block.title}. ${block.hint}` });
  const whole = make("figure", { class: `figure${SQUARE.test(block.key) ? " square" : ""}${WIDE.test(block.key) ? " wide" : ""}` },
    make("h3", {}, block.title), make("p", { class: "caption" }, block.hint), plot);
  FIGURES.set(plot, block);
  if (block.layout.height) plot.style.height = `${block.layout.height}px`;
  seen.observe(plot);
  return whole;
}

// a figure is drawn when it comes near the screen: a page of twenty opens at once
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    paint(entry.target);
  }
}, { rootMargin: "600px" });

function paint(plot) {
  const block = FIGURES.get(plot);
  if (!block || !plot.isConnected) return;
  const { height, ...own } = block.layout;
  const narrow = plot.clientWidth < 460;
  const axis = { gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line"), automargin: true, tickformat: undefined };
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: css("--ink"), size: narrow ? 11 : 12, family: "system-ui, sans-serif" },
    margin: { l: 52, r: 14, t: 8, b: 44 }, hovermode: "closest", showlegend: block.data.length > 1,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", xanchor: "left" },
    hoverlabel: { bgcolor: css("--panel"), bordercolor: css("--line"), font: { color: css("--ink") } }, bargap: 0.15,
    ...own, xaxis: { ...axis, ...own.xaxis }, yaxis: { ...axis, ...own.yaxis },
  };
  for (const name of ["xaxis", "yaxis"]) if (layout[name].type === "log") Object.assign(layout[name], { dtick: "D2", exponentformat: "none" });
  const config = { responsive: true, displayModeBar: false };
  Plotly.react(plot, coloured(block.data), coloured(layout), config);
  plot.dataset.drawn = "yes";
}

darkness.addEventListener("change", () => {
  for (const plot of FIGURES.keys()) if (plot.dataset.drawn) paint(plot);
});

/** Draw a section, or draw it anew in its place: figures that stay are changed, not rebuilt. */
function drawSection(section) {
  const old = document.getElementById(section.key);
  const blocks = make("div", { class: "blocks" });
  for (const block of section.blocks) {
    const before = block.kind === "figure" && old ? old.querySelector(`[id="plot-${CSS.escape(block.key)}"]`) : null;
    if (before) {
      FIGURES.set(before, block);
      const figure = before.closest("figure");
      figure.querySelector(".caption").textContent = block.hint;
      blocks.append(figure);
      if (before.dataset.drawn) paint(before);
    } else blocks.append(drawBlock(block));
  }
  const whole = make("section", { id: section.key }, make("h2", {}, section.title), make("p", { class: "about" }, section.about), blocks);
  if (old) old.replaceWith(whole);
  else document.getElementById("main").append(whole);
  for (const plot of FIGURES.keys()) if (!plot.isConnected) FIGURES.delete(plot);
  for (const plot of whole.querySelectorAll(".plot[data-drawn]")) paint(plot);
}

function drawHead(section, status) {
  const old = document.getElementById("head");
  const title = make("h1", {}, `Campaign ${section.title} `, make("span", { class: `status ${status}` }, status));
  const whole = make("section", { id: "head" }, title, make("p", { class: "about" }, section.about), ...section.blocks.map(drawBlock));
  if (old) old.replaceWith(whole);
  else document.getElementById("main").prepend(whole);
}

function drawContents(sections) {
  const links = sections.map((section) => make("a", { href: `#${section.key}` }, section.title));
  document.getElementById("contents").replaceChildren(...links);
}
