// What a reader of each frame gets. Runs in the page that holds the frames, once all are loaded.
const channel = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const parse = text => (text.match(/[\d.]+/g) || []).map(Number);
const solid = colour => colour.length >= 3 && (colour.length < 4 || colour[3] > 0.99);

function behind(node, view) {
  for (let at = node; at; at = at.parentElement) {
    const colour = parse(view.getComputedStyle(at).backgroundColor);
    if (solid(colour)) return colour;
  }
  return [255, 255, 255];
}

function contrast(node, view) {
  const style = view.getComputedStyle(node);
  const own = parse(node.closest("svg") ? style.fill : style.color);
  const [a, b] = [light(own), light(behind(node, view))];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}

// Whether all of it lies within the screen and within everything that cuts off what sticks out.
function shown(node, view) {
  const box = node.getBoundingClientRect();
  if (box.width < 1 || box.height < 1) return false;
  for (let at = node; at; at = at.parentElement) {
    const style = view.getComputedStyle(at), around = at.getBoundingClientRect();
    if (style.display === "none" || style.visibility === "hidden") return false;
    if (style.overflowX !== "visible" && (box.left < around.left - 1 || box.right > around.right + 1))
      return false;
  }
  return box.left >= -1 && box.right <= view.document.documentElement.clientWidth + 1;
}

function report(frame) {
  const view = frame.contentWindow, page = view.document, root = page.documentElement;
  const texts = [...page.querySelectorAll("body *")].filter(node =>
    !["SCRIPT", "STYLE"].includes(node.tagName) && node.getClientRects().length &&
    [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim()));
  const numbers = [...page.querySelectorAll("table.data td > span, table.data td")].filter(
    node => node.textContent.trim() && !node.querySelector(":scope > span"));
  const screened = numbers.length ? numbers : [...page.querySelectorAll("td")];
  const name = node => node.textContent.trim().slice(0, 60);
  return {
    width: root.clientWidth,
    wide: Math.max(root.scrollWidth, page.body.scrollWidth),
    numbers: screened.length,
    hidden: screened.filter(node => !shown(node, view)).map(name),
    unlabelled: [...page.querySelectorAll("table.data td")].filter(cell => {
      const style = view.getComputedStyle(cell), before = view.getComputedStyle(cell, "::before");
      const card = style.display !== "table-cell" && cell.textContent.trim();
      return card && cell.previousElementSibling && style.display !== "none" &&
        (before.display === "none" || ["none", '""', "normal"].includes(before.content));
    }).map(name),
    cards: [...page.querySelectorAll("table.data td")].filter(
      cell => view.getComputedStyle(cell).display !== "table-cell").length,
    pale: texts.filter(node => contrast(node, view) < 4.5).map(
      node => `${name(node)} (${contrast(node, view).toFixed(2)})`),
    small: texts.filter(node => node.closest("svg") &&
      Math.min(node.getBoundingClientRect().height, node.getBoundingClientRect().width) > 0 &&
      parseFloat(view.getComputedStyle(node).fontSize) * node.closest("svg").getBoundingClientRect().width /
        node.closest("svg").viewBox.baseVal.width < 8).map(name),
    silent: [...page.querySelectorAll("img")].filter(image => !(image.alt || "").trim()).length +
      [...page.querySelectorAll("svg")].filter(
        drawn => drawn.getAttribute("role") !== "img" || !drawn.getAttribute("aria-label")).length,
    pictures: page.querySelectorAll("img, svg").length,
    broken: [...page.querySelectorAll("img")].filter(image => !image.naturalWidth).length,
    ids: [...page.querySelectorAll("[id]")].map(node => node.id).filter(
      (id, place, all) => all.indexOf(id) !== place && !/^[mp][0-9a-f]{10}$/.test(id)),
  };
}

addEventListener("load", () => {
  const found = {};
  for (const frame of document.querySelectorAll("iframe")) found[frame.id] = report(frame);
  document.getElementById("found").textContent = JSON.stringify(found);
});
