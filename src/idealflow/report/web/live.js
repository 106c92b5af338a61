"use strict";
// The live page: the server tells of new rounds, and the page asks for what changed.

(async () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const sections = data.sections, slow = new Set(data.slow), titles = new Map();
  const main = document.getElementById("main");
  const lamp = make("span", { class: "live off", role: "status" }, "connecting");
  document.querySelector(".top").append(lamp);
  let stamps = [], chosen = decodeURIComponent(location.hash.slice(1).split("/")[0]), shown = null, busy = false, computing = false, again = false, gallery = null;

  const ask = async (path, parameters = {}) => {
    const answer = await fetch(`${path}?${new URLSearchParams({ campaign: chosen, ...parameters })}`);
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    return found;
  };

  /** What the server tells of substructures, asked for once each. */
  class Asked {
    constructor() { this.known = new Map(); }
    forget() { this.known.clear(); }
    of(uuid) {
      if (!this.known.has(uuid)) this.known.set(uuid, ask("substructure", { uuid }));
      return this.known.get(uuid);
    }
    async structure(_, uuid) {
      const { structure } = await this.of(uuid);
      return structure && { ...structure, positions: column(structure.positions) };
    }
    async detail(uuid) { return (await this.of(uuid)).detail; }
  }
  const asked = new Asked();

  const drawCampaigns = () => {
    const bar = document.getElementById("campaigns");
    bar.hidden = stamps.length < 2;
    bar.replaceChildren(...stamps.map((stamp) => make("a", { href: `#${encodeURIComponent(stamp.name)}/`, "aria-current": stamp.name === chosen ? "page" : null },
      `${stamp.name} (${stamp.status}, round ${Math.max(0, stamp.round)})`)));
  };

  const start = () => {
    main.replaceChildren();
    FIGURES.clear();
    asked.forget();
    shown = null;
    gallery = new Gallery(asked);
    window.gallery = gallery;
  };

  const draw = async (stamp) => {
    const quick = sections.filter((one) => !slow.has(one));
    // all are asked for at once: answers are made while others are drawn
    const [first, rows, ...made] = [ask("head"), ask("gallery"), ...quick.map((key) => ask("section", { key }))];
    for (const one of [rows, ...made]) one.catch(() => {}); // what is wrong is thrown where the answer is awaited
    const { head, status } = await first;
    drawHead(head, status);
    document.title = `Campaign ${stamp.name}: round ${Math.max(0, stamp.round)}`;
    if (!gallery.element.isConnected) {
      main.append(gallery.element, ...sections.map((key) => make("section", { id: key }, make("p", { class: "about" }, "is being computed …"))));
    }
    asked.forget(); // what a newer model made of them may have changed
    gallery.update(await rows);
    for (const [number, key] of quick.entries()) drawMade(key, await made[number]);
    document.documentElement.dataset.round = stamp.round;
    document.documentElement.dataset.ready = "yes";
    drawSlow(stamp.name);
  };

  const drawMade = (key, section) => {
    titles.set(key, section.title);
    drawSection(section);
    drawContents([{ key: "gallery", title: "Substructures" }, ...sections.filter((one) => titles.has(one)).map((one) => ({ key: one, title: titles.get(one) }))]);
  };

  /** Sections that take seconds follow by themselves: no new round waits for them. */
  const drawSlow = async (name) => {
    again = true;
    if (computing) return;
    computing = true;
    try {
      while (again) {
        again = false;
        for (const key of slow) if (name === chosen || again) drawMade(key, await ask("section", { key }));
        name = chosen;
      }
    } catch (error) {
      console.warn(error);
    } finally {
      computing = false;
    }
  };

  const refresh = async () => {
    if (busy) return;
    busy = true;
    try {
      for (;;) {
        if (!stamps.some((stamp) => stamp.name === chosen)) { chosen = stamps[0]?.name ?? ""; }
        drawCampaigns();
        const stamp = stamps.find((one) => one.name === chosen);
        const now = stamp && JSON.stringify(stamp);
        if (!stamp || now === shown) break;
        if (!shown || JSON.parse(shown).name !== chosen) start();
        await draw(stamp);
        shown = now;
      }
      if (!stamps.length) main.replaceChildren(make("p", { class: "missing" }, "No campaign has stored anything yet. This page shows the first one as soon as it does."));
    } catch (error) {
      console.warn(error); // the server ended, or the campaign is gone: the lamp says so, and the next event draws anew
    } finally {
      busy = false;
    }
  };

  window.addEventListener("hashchange", () => {
    const name = decodeURIComponent(location.hash.slice(1).split("/")[0]);
    if (stamps.some((stamp) => stamp.name === name) && name !== chosen) { chosen = name; refresh(); }
  });
  const events = new EventSource("events");
  events.onopen = () => { lamp.className = "live"; lamp.textContent = "● live"; };
  events.onerror = () => { lamp.className = "live off"; lamp.textContent = "not connected"; };
  events.onmessage = (event) => { stamps = JSON.parse(event.data); refresh(); };
})();
