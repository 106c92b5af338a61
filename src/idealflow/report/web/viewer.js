"use strict";
// One scene: a substructure with core, shell and centre told apart by size and colour, or its surroundings in the frame.

const ROLE = [ // of a substructure: 0 shell, 1 core, 2 centre
  { name: "shell, relaxed", radius: 0.5, light: "#b6c0ca", dark: "#7d8894" },
  { name: "core, as in the frame", radius: 0.8, light: "#0072b2", dark: "#56b4e9" },
  { name: "centre, which asked", radius: 1.1, light: "#e69f00", dark: "#f0b429" },
];
const PLACE = [ // of the frame: 0 others, 1 shell, 2 core, 3 centre
  { name: "other atoms of the frame", radius: 0.22, light: "#b6c0ca", dark: "#6b7681" },
  { name: "where the shell came from", radius: 0.45, light: "#66a9d6", dark: "#3d7ea6" },
  { name: "core", radius: 0.8, light: "#0072b2", dark: "#56b4e9" },
  { name: "centre", radius: 1.1, light: "#e69f00", dark: "#f0b429" },
];
const STILL = window.matchMedia("(prefers-reduced-motion: reduce)");

class Scene {
  constructor(element, legend) {
    this.element = element;
    this.legend = legend;
    this.byElement = false;
    this.spinning = !STILL.matches;
    this.shown = null;
    try {
      this.viewer = $3Dmol.createViewer(element, { backgroundColor: css("--panel"), antialias: true, disableFog: false });
    } catch (error) {
      this.viewer = null;
    }
    if (!this.viewer) element.replaceChildren(make("p", { class: "failed" }, "This browser has no WebGL, which the 3D view needs. All figures of the substructures are here without it."));
    darkness.addEventListener("change", () => this.draw());
    // what nobody sees does not turn
    this.visible = true;
    new IntersectionObserver((entries) => { this.visible = entries.at(-1).isIntersecting; this.turn(this.spinning); }).observe(element);
  }

  /** Show atoms: numbers, positions (3 for each atom, Å), roles, cell (9 numbers or null), periodic (three bits). */
  show(atoms, roles) {
    const kind = roles === PLACE ? "frame" : "cell";
    this.fresh = !this.shown || this.kind !== kind || this.size !== atoms.numbers.length;
    this.kind = kind;
    this.size = atoms.numbers.length;
    this.shown = { atoms, roles };
    this.draw();
  }

  draw() {
    if (!this.shown) return;
    const { atoms, roles } = this.shown;
    const theme = darkness.matches ? "dark" : "light";
    this.drawLegend(roles, theme, atoms);
    if (!this.viewer) return;
    const viewer = this.viewer;
    viewer.setBackgroundColor(css("--panel"));
    viewer.removeAllModels();
    viewer.removeAllShapes();
    const model = viewer.addModel();
    const list = new Array(atoms.numbers.length);
    for (let i = 0; i < list.length; i++) {
      const role = roles[atoms.roles[i]];
      const elem = SYMBOLS[atoms.numbers[i]] ?? "X";
      const light = elem === "H" ? 0.6 : 1;
      const color = this.byElement ? elementColour(elem) : role[theme];
      list[i] = { elem, x: atoms.positions[3 * i], y: atoms.positions[3 * i + 1], z: atoms.positions[3 * i + 2], serial: i, bonds: [], bondOrder: [],
        style: { sphere: { radius: role.radius * light, color } } };
    }
    model.addAtoms(list);
    if (atoms.cell) this.drawCell(atoms);
    viewer.zoomTo();
    viewer.render();
    this.turn(this.spinning);
  }

  drawCell({ cell, positions, numbers, periodic }) {
    const vectors = [cell.slice(0, 3), cell.slice(3, 6), cell.slice(6, 9)].map((v) => Array.from(v));
    if (vectors.some((v) => Math.hypot(...v) < 1e-6)) return;
    // positions are unwrapped around the centre: the box is drawn around their middle
    const middle = [0, 1, 2].map((axis) => {
      let sum = 0;
      for (let i = 0; i < numbers.length; i++) sum += positions[3 * i + axis];
      return sum / numbers.length;
    });
    const at = (a, b, c) => {
      const [x, y, z] = [0, 1, 2].map((k) => middle[k] + (a - 0.5) * vectors[0][k] + (b - 0.5) * vectors[1][k] + (c - 0.5) * vectors[2][k]);
      return { x, y, z };
    };
    for (let axis = 0; axis < 3; axis++) {
      for (const p of [0, 1]) for (const q of [0, 1]) {
        const ends = [0, 1].map((t) => at(...[0, 1, 2].map((k) => (k === axis ? t : k === (axis + 1) % 3 ? p : q))));
        this.viewer.addLine({ start: ends[0], end: ends[1], color: css("--quiet"), dashed: !((periodic >> axis) & 1) });
      }
    }
  }

  drawLegend(roles, theme, atoms) {
    const entries = this.byElement
      ? [...new Set(atoms.numbers)].map((z) => [SYMBOLS[z], elementColour(SYMBOLS[z]), 12])
      : roles.filter((_, i) => atoms.roles.includes(i)).map((role) => [role.name, role[theme], 6 + 9 * role.radius]);
    this.legend.replaceChildren(...entries.map(([name, colour, size]) =>
      make("span", {}, make("span", { class: "dot", style: `background:${colour};width:${size}px;height:${size}px` }), name)));
  }

  turn(on) {
    this.spinning = on;
    if (this.viewer) this.viewer.spin(on && this.visible ? "y" : false, 0.6);
  }
}

function elementColour(symbol) {
  const colour = $3Dmol.elementColors.Jmol[symbol];
  return colour === undefined ? "#ff69b4" : `#${colour.toString(16).padStart(6, "0")}`;
}

const SYMBOLS = ("X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I "
  + "Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh "
  + "Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og").split(" ");
