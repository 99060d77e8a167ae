// What a machine can find wrong with a page: WCAG 2.2 level AA as far as it can be
// measured (1.1.1, 1.3.1, 1.4.3, 1.4.10, 2.4.2, 2.5.8, 3.1.1, 3.3.2), and what
// overflows or is cut off.
(() => {
  const faults = new Set();
  const shown = (e) => {
    const r = e.getBoundingClientRect();
    // A link to skip to the content waits to the left of the window.
    return r.width > 1 && r.height > 1 && r.right > 0 && e.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  };
  const named = (e) => {
    const what = e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + (e.name ? `[name=${e.name}]` : "");
    const text = (e.innerText || e.value || "").trim().replace(/\s+/g, " ").slice(0, 40);
    return text ? `${what} "${text}"` : what;
  };
  const root = document.documentElement;

  if (!root.lang) faults.add("html has no lang");
  if (!document.title.trim()) faults.add("no title");
  if (document.querySelectorAll("h1").length !== 1) faults.add(`${document.querySelectorAll("h1").length} h1`);
  if (!document.querySelector("meta[name=viewport]")) faults.add("no viewport for phones");
  const ids = new Set();
  for (const e of document.querySelectorAll("[id]")) {
    if (ids.has(e.id)) faults.add(`id ${e.id} is there twice`);
    ids.add(e.id);
  }

  if (root.scrollWidth > root.clientWidth + 1) {
    faults.add(`the page is ${root.scrollWidth} px wide in a window of ${root.clientWidth}`);
  }
  // An element that scrolls by itself may be wider than the window.
  const scrolls = (e) => {
    for (; e && e !== document.body; e = e.parentElement) {
      if (/auto|scroll/.test(getComputedStyle(e).overflowX)) return true;
    }
    return false;
  };
  for (const e of document.body.querySelectorAll("*")) {
    if (!shown(e)) continue;
    const r = e.getBoundingClientRect();
    if ((r.right > root.clientWidth + 1 || r.left < -1) && !scrolls(e)) faults.add(`${named(e)} sticks out of the window`);
    const s = getComputedStyle(e);
    if (/hidden|clip/.test(s.overflowX) && e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 1) faults.add(`${named(e)} is cut off`);
    if (/hidden|clip/.test(s.overflowY) && e.scrollHeight > e.clientHeight + 1 && e.clientHeight > 1) faults.add(`${named(e)} is cut off`);
  }
  for (const e of document.querySelectorAll("button, input, select")) {
    if (shown(e) && e.tagName === "BUTTON" && e.scrollWidth > e.clientWidth + 1) faults.add(`${named(e)} has more text than room`);
  }

  for (const e of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    if (!shown(e) || /submit|button/.test(e.type)) continue;
    const label = e.labels && [...e.labels].some((l) => l.innerText.trim());
    if (!label && !e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby")) faults.add(`${named(e)} has no label`);
  }
  for (const e of document.querySelectorAll("button, a[href]")) {
    if (shown(e) && !e.innerText.trim() && !e.getAttribute("aria-label")) faults.add(`${named(e)} has no name`);
  }
  for (const e of document.querySelectorAll("img")) {
    if (!e.hasAttribute("alt")) faults.add(`${named(e)} has no alt`);
    if (e.complete && e.naturalWidth === 0) faults.add(`${named(e)} did not load`);
  }
  for (const e of document.querySelectorAll("svg")) {
    if (shown(e) && !e.getAttribute("aria-label") && !e.getAttribute("aria-hidden") && !e.querySelector("title") &&
      !document.getElementById(e.getAttribute("aria-labelledby"))) faults.add("svg has no name");
  }

  // 2.5.8: 24 px, or so much room that a circle of that size touches no other target;
  // links within text may be as high as the text.
  const targets = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, summary")].filter(shown).map((e) => {
    const r = e.getBoundingClientRect();
    const label = e.labels && e.labels[0] ? e.labels[0].getBoundingClientRect() : r;
    return { e, r, x: r.left + r.width / 2, y: r.top + r.height / 2, small: Math.max(r.height, label.height) < 24 || r.width < 24 };
  });
  for (const t of targets) {
    const inText = t.e.tagName === "A" && getComputedStyle(t.e).display === "inline" &&
      t.e.parentElement.innerText.trim().length > t.e.innerText.trim().length;
    if (!t.small || inText) continue;
    for (const o of targets) {
      const dx = o.small ? Math.abs(o.x - t.x) : Math.max(o.r.left - t.x, t.x - o.r.right, 0);
      const dy = o.small ? Math.abs(o.y - t.y) : Math.max(o.r.top - t.y, t.y - o.r.bottom, 0);
      if (o !== t && Math.hypot(dx, dy) < (o.small ? 24 : 12)) {
        faults.add(`${named(t.e)} is ${Math.round(t.r.width)} x ${Math.round(t.r.height)} px small, and ${named(o.e)} is beside it`);
      }
    }
  }

  // 1.4.3
  const colour = (text) => {
    const m = text.match(/rgba?\(([^)]+)\)/);
    if (!m) return null;
    const p = m[1].split(/[ ,/]+/).map(Number);
    return { r: p[0], g: p[1], b: p[2], a: p.length > 3 ? p[3] : 1 };
  };
  const over = (top, below) => ({
    r: top.r * top.a + below.r * (1 - top.a), g: top.g * top.a + below.g * (1 - top.a), b: top.b * top.a + below.b * (1 - top.a), a: 1,
  });
  const behind = (e) => {
    const layers = [];
    for (; e; e = e.parentElement) {
      const s = getComputedStyle(e);
      if (s.backgroundImage !== "none") return null; // cannot be measured here
      const c = colour(s.backgroundColor);
      if (c && c.a > 0) layers.push(c);
      if (c && c.a === 1) break;
    }
    return layers.reduceRight((below, top) => over(top, below), { r: 255, g: 255, b: 255, a: 1 });
  };
  const light = (c) => {
    const f = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * f(c.r) + 0.7152 * f(c.g) + 0.0722 * f(c.b);
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n = walk.nextNode(); n; n = walk.nextNode()) {
    const e = n.parentElement;
    if (!n.data.trim() || !shown(e) || /^(SCRIPT|STYLE|NOSCRIPT)$/.test(e.tagName) || e.closest("[disabled], svg")) continue;
    const s = getComputedStyle(e);
    const below = behind(e);
    const ink = colour(s.color);
    if (!below || !ink) continue;
    const [a, b] = [light(over(ink, below)), light(below)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(s.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(s.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) faults.add(`${named(e)} has a contrast of ${ratio.toFixed(2)}`);
  }
  return [...faults];
})()
