"use strict";
// The gallery: choose a substructure, see it turn, read its lineage.

const PAGE_ROWS = 100;
const ORDERS = [
  ["request", "order of request", (g) => (a, b) => a - b],
  ["uncertain", "most uncertain first", (g) => (a, b) => g.c.uncertainty[b] - g.c.uncertainty[a]],
  ["wrong", "most wrong first", (g) => (a, b) => (g.c.force_error[b] || -1) - (g.c.force_error[a] || -1)],
  ["late", "latest first", (g) => (a, b) => b - a],
  ["large", "largest first", (g) => (a, b) => g.c.n_atoms[b] - g.c.n_atoms[a]],
];

class Gallery {
  /** `source` gives structure(i, uuid) and detail(uuid), both promises of null where there is none. */
  constructor(source) {
    this.source = source;
    this.picked = null;
    this.inFrame = false;
    this.limit = PAGE_ROWS;
    this.build();
  }

  build() {
    const legend = make("div", { class: "legend" });
    const view = make("div", { class: "view" });
    this.title = make("h3", { "aria-live": "polite" });
    this.list = make("ul", { class: "list", "aria-label": "Substructures" });
    this.count = make("p", { class: "caption" });
    this.story = make("div", { class: "story" });
    const choose = () => { this.limit = PAGE_ROWS; this.drawList(); };
    this.filters = {
      find: make("input", { type: "search", placeholder: "step or atom", oninput: choose }),
      species: make("select", { onchange: choose }),
      state: make("select", { onchange: choose }, ...["all", "accepted", "failed"].map((name) => make("option", { value: name }, name))),
      least: make("input", { type: "number", min: "0", step: "any", placeholder: "any", oninput: choose }),
      order: make("select", { onchange: choose }, ...ORDERS.map(([key, name]) => make("option", { value: key }, name))),
    };
    const labelled = [["find", this.filters.find], ["species", this.filters.species], ["labels", this.filters.state], ["uncertainty from", this.filters.least], ["sorted by", this.filters.order]];
    this.buttons = {
      spin: make("button", { type: "button", onclick: () => { this.scene.turn(!this.scene.spinning); this.press(); } }, "turn"),
      colour: make("button", { type: "button", onclick: () => { this.scene.byElement = !this.scene.byElement; this.press(); this.scene.draw(); } }, "colour by element"),
      frame: make("button", { type: "button", onclick: () => { this.inFrame = !this.inFrame; this.press(); this.drawScene(); } }, "in the frame"),
      back: make("button", { type: "button", onclick: () => this.step(-1) }, "‹ previous"),
      next: make("button", { type: "button", onclick: () => this.step(1) }, "next ›"),
    };
    const left = make("div", {}, this.title, make("div", { class: "scene" }, view), legend, make("div", { class: "buttons" }, ...Object.values(this.buttons)));
    const right = make("div", {}, make("div", { class: "filters" }, ...labelled.map(([name, input]) => make("label", {}, name, input))), this.list, this.count);
    this.element = make("section", { id: "gallery" }, make("h2", {}, "Substructures"),
      make("p", { class: "about" }, "What was cut out of frames and labelled: the core as it stood in the frame, and a shell that was moved until its surroundings look like what the model knows. "
        + "Choose one to see it turn, where it comes from, and what the model made of it."),
      (this.body = make("div", { class: "gallery" }, left, right)), this.story);
    this.empty = make("div", { class: "missing" }, "No substructure is labelled yet.");
    this.place = { view, legend };
    this.list.addEventListener("scroll", () => {
      if (this.limit < this.rows.length && this.list.scrollTop + this.list.clientHeight > this.list.scrollHeight - 200) { this.limit += PAGE_ROWS; this.drawList(); }
    });
    this.element.addEventListener("keydown", (event) => {
      if (event.target.matches("input, select") || !["ArrowDown", "ArrowUp"].includes(event.key)) return;
      event.preventDefault();
      this.step(event.key === "ArrowDown" ? 1 : -1);
    });
  }

  /** Take over rows, the first or newer ones; what is picked stays picked. */
  update(columns) {
    const c = { ...columns };
    for (const name of Object.keys(c)) if (c[name]?.bdata !== undefined) c[name] = column(c[name]);
    this.c = c;
    const n = c.uuid.length;
    this.body.hidden = n === 0;
    if (n === 0) { this.element.append(this.empty); return; }
    this.empty.remove();
    const species = [...new Set(c.species)].sort(), before = this.filters.species.value;
    this.filters.species.replaceChildren(...["all", ...species].map((name) => make("option", { value: name }, name)));
    if (before) this.filters.species.value = before;
    this.drawList();
    // made when the page has a place for it: a scene needs a size
    if (!this.scene) { this.scene = new Scene(this.place.view, this.place.legend); this.press(); }
    const at = this.picked === null ? -1 : c.uuid.indexOf(this.picked);
    if (at < 0) this.pick(this.first());
    else this.pick(at);
  }

  /** The first accepted one, else the first. */
  first() {
    const at = this.c.failed.indexOf(0);
    return at < 0 ? 0 : at;
  }

  drawList() {
    const { c, filters } = this;
    const find = filters.find.value.trim(), least = parseFloat(filters.least.value);
    const rows = [];
    for (let i = 0; i < c.uuid.length; i++) {
      if (filters.species.value !== "all" && c.species[i] !== filters.species.value) continue;
      if (filters.state.value !== "all" && (filters.state.value === "failed") !== Boolean(c.failed[i])) continue;
      if (least && !(c.uncertainty[i] >= least)) continue;
      if (find && String(c.step[i]) !== find && String(c.atom[i]) !== find) continue;
      rows.push(i);
    }
    rows.sort(ORDERS.find(([key]) => key === filters.order.value)[2](this));
    this.rows = rows;
    this.list.replaceChildren(...rows.slice(0, this.limit).map((i) => make("li", {}, this.button(i))));
    this.count.textContent = `${written(rows.length)} of ${written(c.uuid.length)} substructures`;
  }

  button(i) {
    const { c } = this;
    const state = c.failed[i] ? "failed" : `${written(c.n_atoms[i])} atoms, error before ${Number.isNaN(c.force_error[i]) ? "not known" : `${written(1e3 * c.force_error[i], 3)} meV/Å`}`;
    return make("button", { type: "button", "data-row": i, "aria-current": c.uuid[i] === this.picked ? "true" : null, onclick: () => this.pick(i) },
      `step ${written(c.step[i])}, atom ${c.atom[i]} (${c.species[i]})`, make("small", {}, `uncertainty ${written(c.uncertainty[i], 3)}; ${state}`));
  }

  step(by) {
    const at = this.rows.indexOf(this.c.uuid.indexOf(this.picked));
    const to = this.rows[Math.min(this.rows.length - 1, Math.max(0, at + by))];
    if (to === undefined) return;
    this.pick(to);
    this.list.querySelector(`[data-row="${to}"]`)?.scrollIntoView({ block: "nearest" });
  }

  async pick(i) {
    const uuid = this.c.uuid[i], same = uuid === this.picked && this.atoms;
    this.picked = uuid;
    for (const one of this.list.querySelectorAll("[aria-current]")) one.removeAttribute("aria-current");
    this.list.querySelector(`[data-row="${i}"]`)?.setAttribute("aria-current", "true");
    this.title.textContent = `Step ${written(this.c.step[i])}, atom ${this.c.atom[i]} (${this.c.species[i]})`;
    if (!same) {
      this.atoms = await this.source.structure(i, uuid);
      if (this.picked !== uuid) return; // another one was picked meanwhile
      this.detail = null;
      this.drawScene();
    }
    const detail = await this.source.detail(uuid);
    if (this.picked !== uuid) return;
    this.detail = detail;
    this.press();
    if (this.inFrame && !same) this.drawScene();
    this.drawStory(i);
    this.element.dataset.told = uuid;
  }

  drawScene() {
    const frame = this.inFrame && this.detail?.frame;
    if (frame) {
      const positions = Float32Array.from(frame.positions, (step) => step * frame.precision);
      this.scene.show({ numbers: frame.numbers, positions, roles: frame.roles, cell: null }, PLACE);
    } else if (this.atoms) this.scene.show(this.atoms, ROLE);
    this.element.dataset.scene = frame ? "frame" : this.atoms ? "cell" : "none";
  }

  press() {
    this.buttons.spin.setAttribute("aria-pressed", this.scene.spinning);
    this.buttons.colour.setAttribute("aria-pressed", this.scene.byElement);
    this.buttons.frame.setAttribute("aria-pressed", Boolean(this.inFrame && this.detail?.frame));
    this.buttons.frame.disabled = !this.detail?.frame;
  }

  drawStory(i) {
    const { c } = this;
    const number = (value, unit, digits) => (Number.isNaN(value) ? "–" : `${written(value, digits)}${unit}`);
    const facts = [
      ["atoms", c.n_atoms[i] ? written(c.n_atoms[i]) : "–", "of the labelled cell"],
      ["uncertainty in the frame", written(c.uncertainty[i], 3), "of the centre; 1 is the mean over what the model knows"],
      ["uncertainty of the shell", number(c.shell_uncertainty[i], "", 3), "mean after relaxation: near 1, the shell is as the model knows it"],
      ["energy", number(c.energy[i], " eV/atom"), "of the label"],
      ["label time", number(c.seconds[i], " s", 3), "wall time"],
      ["error before learning", number(1e3 * c.force_error[i], " meV/Å", 3), "force at the centre, by the version that asked"],
      ["error after learning", number(1e3 * c.after[i], " meV/Å", 3), "force components of all its atoms, as the learner last computed them"],
      ["asked by version", String(c.model_version[i]), "of the model"],
    ].map(([name, value, about]) => ({ name, value, hint: about }));
    const parts = [drawFacts({ items: facts })];
    if (c.cause[i]) parts.push(drawNote({ text: `The label failed: ${c.cause[i]}`, warning: true }));
    if (this.detail) {
      const blocks = make("div", { class: "blocks" }, ...this.detail.blocks.map(drawBlock));
      parts.push(blocks);
      if (this.detail.frame) parts.push(make("p", { class: "caption" }, placeOf(this.detail.frame)));
    } else {
      parts.push(drawMissing({ title: "Candidates, relaxation, place in the frame", text: "This page holds them for the 300 most telling substructures. `idealflow watch` shows them for all." }));
    }
    this.story.replaceChildren(...parts);
    for (const plot of FIGURES.keys()) if (!plot.isConnected) FIGURES.delete(plot);
  }
}

function placeOf(frame) {
  const shown = frame.numbers.length;
  const which = shown < frame.whole ? `the ${written(shown)} atoms of the frame nearest to the centre, of ${written(frame.whole)}` : `all ${written(shown)} atoms of the frame`;
  return `“In the frame” shows ${which}.`;
}

/** The page's own packed coordinates. */
class Packed {
  constructor(packed, details) {
    this.packed = packed;
    this.details = details;
  }

  async unpack() {
    const { count, atoms, precision, data } = this.packed;
    const raw = await inflated(data);
    let at = 0;
    const take = (length) => raw.slice(at, (at += length));
    const sizes = new Int32Array(take(4 * count).buffer);
    const cells = new Float32Array(take(36 * count).buffer);
    const high = take(3 * atoms), low = take(3 * atoms), numbers = take(atoms), roles = take(atoms), periodic = take(count);
    const starts = new Int32Array(count + 1);
    for (let i = 0; i < count; i++) starts[i + 1] = starts[i] + sizes[i];
    Object.assign(this, { high, low, numbers, roles, periodic, cells, starts, atoms, precision });
    return this;
  }

  async structure(i) {
    this.ready ??= this.unpack();
    await this.ready;
    const from = this.starts[i], to = this.starts[i + 1];
    if (from === to) return null;
    const positions = new Float32Array(3 * (to - from));
    for (let axis = 0; axis < 3; axis++) {
      for (let k = from; k < to; k++) {
        const place = axis * this.atoms + k;
        positions[3 * (k - from) + axis] = (((this.high[place] << 8) | this.low[place]) << 16 >> 16) * this.precision;
      }
    }
    return { numbers: this.numbers.slice(from, to), positions, roles: this.roles.slice(from, to), cell: this.cells.slice(9 * i, 9 * i + 9), periodic: this.periodic[i] };
  }

  async detail(uuid) {
    this.told ??= this.details ? inflatedJson(this.details) : Promise.resolve({});
    return (await this.told)[uuid] ?? null;
  }
}
