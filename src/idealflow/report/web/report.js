"use strict";
// The report: everything is in the page.

(async () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  drawHead(data.head, data.status);
  const sections = [...data.sections];
  if (data.gallery) {
    const gallery = (window.gallery = new Gallery(new Packed(data.gallery.packed, data.gallery.details)));
    document.getElementById("main").append(gallery.element);
    gallery.update(data.gallery.columns);
    sections.unshift({ key: "gallery", title: "Substructures" });
  }
  drawContents(sections);
  data.sections.forEach(drawSection);
  document.getElementById("main").append(make("footer", {}, `Drag in a figure to enlarge a part of it; a double click brings back the whole. ${data.footer}`));
  document.documentElement.dataset.ready = "yes";
})();
