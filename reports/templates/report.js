"use strict";
(() => {
  const read = id => JSON.parse(document.getElementById(id)?.textContent ?? "null");
  const specs = read("specs"), tables = read("tables") ?? {};
  const every = (selector, within = document) => [...within.querySelectorAll(selector)];
  const made = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text }, more);

  // ------------------------------------------------------------ rows, packed in columns
  const column = (table, name) => {
    const found = table.columns[name];
    return found.words ? row => found.words[found.codes[row]] : row => found.values[row];
  };
  const rowsOf = (name, chosen) => {
    const table = tables[name], names = Object.keys(table.columns);
    const get = Object.fromEntries(names.map(each => [each, column(table, each)]));
    const asked = Object.keys(chosen).filter(each => names.includes(each)), found = [];
    for (let row = 0; row < table.size; row += 1) {
      if (!asked.every(each => get[each](row) === chosen[each])) continue;
      const one = Object.fromEntries(names.map(each => [each, get[each](row)]));
      if (one.curve === undefined) { found.push(one); continue; }
      const curve = table.curves[one.curve], parts = Object.keys(curve);
      curve[parts[0]].forEach((_, k) => found.push({ ...one, ...Object.fromEntries(parts.map(part => [part, curve[part][k]])) }));
    }
    return found;
  };

  // ------------------------------------------------------------ charts
  const dark = matchMedia("(prefers-color-scheme: dark)"), views = new Map();
  const choices = every("select[data-choice]");
  const chosen = () => Object.fromEntries(choices.map(each => [each.dataset.choice, each.value]));
  const theme = () => {
    const style = getComputedStyle(document.documentElement), colour = name => style.getPropertyValue(name).trim();
    const ink = colour("--ink"), soft = colour("--soft"), line = colour("--line"), narrow = innerWidth < 600;
    const font = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";
    const bottom = { direction: "vertical", anchor: "start" };
    return { background: "transparent", font, view: { stroke: line },
      axis: { labelColor: soft, titleColor: soft, gridColor: line, domainColor: line, tickColor: line },
      axisY: { labelLimit: narrow ? 150 : 260 }, header: { labelColor: soft, titleColor: soft },
      legend: { labelColor: ink, titleColor: soft, symbolStrokeWidth: 4, labelLimit: 210, symbolStrokeColor: soft, symbolBaseFillColor: soft, symbolBaseStrokeColor: soft, layout: { bottom } }, title: { color: ink } };
  };
  const draw = async node => {
    let spec = specs[Number(node.dataset.chart)];
    views.get(node)?.finalize();
    views.set(node, null);
    if (node.dataset.rows) {
      const values = chosen();
      (node.dataset.free ?? "").split(" ").forEach(name => delete values[name]);
      const rows = rowsOf(node.dataset.rows, values).filter(each => !node.dataset.positive || each[node.dataset.positive] > 0);
      node.classList.toggle("empty", !rows.length);
      if (!rows.length) return;
      spec = { ...spec, datasets: { rows } };
      const step = spec.height.step;
      if (step) spec.height = step * new Set(rows.map(each => each.model)).size;
    }
    spec = { ...spec, description: node.dataset.title ??= node.getAttribute("aria-label") };
    const tooltip = { theme: dark.matches ? "dark" : "light" };
    const result = await vegaEmbed(node, spec, { actions: false, renderer: "svg", config: theme(), tooltip, logLevel: 1 });
    views.set(node, result);
    if (!node.dataset.rows) await choose(node);
  };
  const choose = async node => {
    if (node.dataset.rows) { await draw(node); return; }
    const { view } = views.get(node);
    for (const [name, value] of Object.entries(chosen())) {
      try { view.signal(name, value); } catch { /* this chart has no such choice */ }
    }
    await view.runAsync();
  };
  const nodes = every(".chart");
  const seen = new IntersectionObserver(entries => entries.forEach(entry => {
    if (entry.isIntersecting) { seen.unobserve(entry.target); draw(entry.target); }
  }), { rootMargin: "600px" });
  nodes.forEach(node => seen.observe(node));
  addEventListener("beforeprint", () => nodes.filter(node => !views.has(node)).forEach(draw));
  dark.addEventListener("change", () => nodes.filter(node => views.has(node)).forEach(draw));
  choices.forEach(select => select.addEventListener("change", () => {
    choices.filter(each => each.dataset.choice === select.dataset.choice).forEach(each => { each.value = select.value; });
    nodes.filter(node => views.has(node)).forEach(choose);
  }));
  const saved = (name, url) => { const link = made("a", "", { href: url, download: name }); link.click(); };
  every("button[data-save]").forEach(button => button.addEventListener("click", async () => {
    const node = button.closest("figure").querySelector(".chart"), kind = button.dataset.save;
    if (!views.get(node)) await draw(node);
    if (views.get(node)) saved(`${node.dataset.name}.${kind}`, await views.get(node).view.toImageURL(kind, kind === "png" ? 2 : 1));
  }));

  // ------------------------------------------------------------ tables
  const count = number => number.toLocaleString("en-US");
  const share = part => part === 0 || part === 1 ? `${100 * part}%` : `${Math.min(Math.max(100 * part, 0.1), 99.9).toFixed(1)}%`;
  const written = {
    text: value => value, count, share, bits: value => value.toFixed(1),
    horizon: (value, one) => value < 0 ? `> ${count(one.length)}` : count(value),
  };
  const recordsOf = name => {
    const { kinds } = tables[name], names = Object.keys(kinds);
    return rowsOf(name, {}).map(one => ({
      outcome: one.outcome,
      cells: names.map(each => {
        const value = one[each], none = value === null || value === "", kind = kinds[each];
        const sort = kind === "horizon" && !none && value < 0 ? Infinity : value;
        const raw = sort === Infinity ? `>${one.length}` : none ? "" : value;
        return { text: none ? "–" : written[kind](value, one), sort: none ? (kind === "text" ? "" : -Infinity) : sort, raw, number: kind !== "text" };
      }),
    }));
  };
  const cellOf = each => {
    const number = each.dataset.n !== undefined || each.classList.contains("n");
    return { text: each.textContent, raw: each.textContent, sort: each.dataset.n === undefined ? each.textContent : Number(each.dataset.n), number };
  };
  const built = record => {
    const row = document.createElement("tr");
    record.cells.forEach(each => row.append(made("td", each.text, { className: each.number ? "n" : each.text.length > 40 ? "long" : "name" })));
    if (record.outcome) row.dataset.outcome = record.outcome;
    return row;
  };
  const quoted = (raw, number) => {
    // A spreadsheet would run text that begins like a formula.
    const text = !number && /^[=+\-@\t\r]/.test(raw) ? `'${raw}` : String(raw);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const copy = async text => {
    try { await navigator.clipboard.writeText(text); return; } catch { /* not allowed in a file: the old way */ }
    const area = made("textarea", text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };
  const PAGE = 100;
  every("table[data-table]").forEach(table => {
    const name = table.dataset.table, body = table.tBodies[0], heads = every("th", table.tHead);
    const records = tables[name]?.kinds ? recordsOf(name)
      : [...body.rows].map(row => ({ row, outcome: row.dataset.outcome, cells: [...row.cells].map(cellOf) }));
    records.forEach(record => { record.search = record.cells.map(each => each.text).join("\t").toLowerCase(); });
    const part = kind => document.querySelector(`[data-${kind}="${name}"]`);
    const words = part("filter"), outcome = part("outcome-of"), told = part("count-of");
    let most = PAGE, shown = records;
    const more = made("button", "", { type: "button", hidden: true });
    const show = () => {
      const asked = (words?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
      shown = records.filter(each => asked.every(word => each.search.includes(word)) && (!outcome?.value || each.outcome === outcome.value));
      const visible = table.dataset.paged === undefined ? shown : shown.slice(0, most);
      body.replaceChildren(...visible.map(each => each.row ??= built(each)));
      if (told) told.textContent = `${count(shown.length)} of ${count(records.length)} ${told.dataset.noun}`;
      more.hidden = visible.length === shown.length;
      more.textContent = `show ${count(Math.min(PAGE * 5, shown.length - visible.length))} more of ${count(shown.length - visible.length)}`;
    };
    more.addEventListener("click", () => { most += PAGE * 5; show(); });
    words?.addEventListener("input", show);
    outcome?.addEventListener("change", show);
    heads.forEach((head, k) => head.querySelector("button")?.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach(each => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      records.sort((a, b) => { const x = a.cells[k].sort, y = b.cells[k].sort; return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1); });
      show();
    }));
    const line = made("div", "", { className: "below" }), button = made("button", "copy as CSV", { type: "button" });
    const done = made("span", "", { className: "soft" });
    done.setAttribute("role", "status");
    button.setAttribute("aria-label", `Copy the rows shown of the table ${name} as CSV`);
    button.dataset.copy = name;
    button.addEventListener("click", async () => {
      const rows = [heads.map(head => quoted(head.textContent, false)), ...shown.map(each => each.cells.map(cell => quoted(cell.raw, cell.number)))];
      await copy(`${rows.map(row => row.join(",")).join("\n")}\n`);
      done.textContent = `${count(shown.length)} rows copied`;
    });
    line.append(more, button, done);
    (table.closest(".scroll") ?? table).after(line);
    show();
  });
})();
