/* Draws every <figure data-chart>: ECharts is loaded only on pages that have one. */
(() => {
  "use strict";

  const NARROW = "\u202f";
  const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, useGrouping: true });
  const plain = (value) => digits.format(value).replaceAll(",", NARROW);

  const writers = {
    number: plain,
    count: (value) =>
      Math.abs(value) >= 1e6 ? `${plain(value / 1e6)}${NARROW}M` : Math.round(value).toLocaleString("en").replaceAll(",", NARROW),
    share: (value) => `${plain(100 * value)}${NARROW}%`,
    seconds: (value) =>
      Math.abs(value) < 1 ? `${plain(1000 * value)}${NARROW}ms` : Math.abs(value) < 120 ? `${plain(value)}${NARROW}s` : `${plain(value / 60)}${NARROW}min`,
    money: (value) => `${value < 0 ? "-" : ""}$${plain(Math.abs(value))}`,
    points: (value) => `${plain(100 * value)} pts`,
  };

  const drawn = new Map();

  /* The theme that is on: colours live in triageops.css, so that a toggle needs no reload. */
  function coloured(value, look) {
    if (typeof value === "string" && value.startsWith("var(--")) {
      return look.getPropertyValue(value.slice(4, -1)).trim();
    }
    if (Array.isArray(value)) {
      return value.map((item) => coloured(item, look));
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, look)]));
    }
    return value;
  }

  function readData(figure) {
    return JSON.parse(document.getElementById(figure.dataset.chart).textContent);
  }

  /* All neighbours in one shape: a shape for each pair would show a seam at every joint. A point without an interval
     ends the shape, so that no certainty is drawn where none was measured; one that stands alone becomes a bar. */
  function band(params, api) {
    if (params.dataIndexInside !== 0) {
      return null;
    }
    const runs = [[]];
    for (let at = 0; at < params.dataInsideLength; at += 1) {
      const [time, low, high] = [api.value(0, at), api.value(1, at), api.value(2, at)];
      if (Number.isFinite(low) && Number.isFinite(high)) {
        runs.at(-1).push([api.coord([time, low]), api.coord([time, high])]);
      } else if (runs.at(-1).length) {
        runs.push([]);
      }
    }
    const colour = api.visual("color");
    const children = runs
      .filter((run) => run.length)
      .map((run) =>
        run.length === 1
          ? { type: "polyline", shape: { points: run[0] }, style: { stroke: colour, lineWidth: 4, opacity: 0.3, fill: null } }
          : {
              type: "polygon",
              shape: { points: [...run.map((pair) => pair[1]), ...run.map((pair) => pair[0]).reverse()] },
              style: { fill: colour, opacity: 0.16 },
            },
      );
    return { type: "group", children };
  }

  function whisker(params, api) {
    const [from, y] = api.coord([api.value(0), api.value(2)]);
    const [to] = api.coord([api.value(1), api.value(2)]);
    const style = { stroke: api.visual("color"), lineWidth: 2 };
    const line = (x1, y1, x2, y2) => ({ type: "line", shape: { x1, y1, x2, y2 }, style });
    return { type: "group", children: [line(from, y, to, y), line(from, y - 5, from, y + 5), line(to, y - 5, to, y + 5)] };
  }

  /* An upright line: rows of value, from, to, and whether it is dashed. */
  function edge(params, api) {
    const [x, y1] = api.coord([api.value(0), api.value(1)]);
    const [, y2] = api.coord([api.value(0), api.value(2)]);
    const style = { stroke: api.visual("color"), lineWidth: api.value(3) ? 1.5 : 1, lineDash: api.value(3) ? [4, 3] : null };
    return { type: "line", shape: { x1: x, y1, x2: x, y2 }, style };
  }

  const shapes = { band, edge, whisker };

  /* Widths of texts, before anything is drawn. */
  const ruler = document.createElement("canvas").getContext("2d");

  function wide(text, font) {
    ruler.font = font;
    return Math.ceil(ruler.measureText(text).width);
  }

  /* Lines that fit into the width: broken at spaces, and within a word that is too long by itself. */
  function wrapped(text, font, width) {
    const lines = [""];
    for (const word of text.split(" ")) {
      const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
      if (wide(longer, font) <= width) {
        lines[lines.length - 1] = longer;
        continue;
      }
      if (lines.at(-1)) {
        lines.push("");
      }
      for (const letter of word) {
        if (lines.at(-1) && wide(lines.at(-1) + letter, font) > width) {
          lines.push("");
        }
        lines[lines.length - 1] += letter;
      }
    }
    return lines;
  }

  const LINE = 16;
  const AXIS = 22;
  const LEAST_PLOT = 300;
  const GAP = 14;

  /* Where names, plots and numbers of a forest stand: side by side, or the words above each interval. Nothing is cut. */
  function columns(panels, fonts, width) {
    const widest = (name, font) => Math.max(0, ...panels.flatMap((panel) => panel.rows.map((row) => wide(row[name], font))));
    const label = Math.min(widest("label", fonts.strong), 220);
    const text = widest("text", fonts.plain);
    const isWide = label + text + 2 * GAP + LEAST_PLOT <= width;
    return isWide
      ? { isWide, left: label + GAP, plot: width - label - text - 2 * GAP, label, text }
      : { isWide, left: 1, plot: width - 2, label: width - 2, text: width - 2 };
  }

  /* One row: its words, the height above the interval that they take, and the height of all. */
  function rowOf(row, fonts, room) {
    const label = wrapped(row.label, fonts.strong, room.label);
    const text = wrapped(row.text, fonts.plain, room.text);
    if (room.isWide) {
      return { label, text, above: 0, height: Math.max(28, LINE * Math.max(label.length, text.length) + 8) };
    }
    const isOneLine = wide(row.label, fonts.strong) + GAP + wide(row.text, fonts.plain) <= room.plot;
    const above = LINE * (isOneLine ? 1 : label.length + text.length);
    return { label, text, isOneLine, above, height: above + (row.ends.length ? 28 : 8) };
  }

  /* A forest's panels as ECharts options, and the height that they need. Each has a scale of its own around 0. */
  function laidOut(panels, look, width) {
    const colour = (name) => look.getPropertyValue(name).trim();
    const family = getComputedStyle(document.body).fontFamily;
    const fonts = { plain: `12px ${family}`, strong: `600 12px ${family}`, head: `600 13px ${family}` };
    const room = columns(panels, fonts, width);
    const options = { grid: [], xAxis: [], yAxis: [], series: [], graphic: [], tooltip: { trigger: "item" } };
    let top = 0;

    function write(lines, x, y, font, fill, align = "left") {
      const style = { text: lines.join("\n"), font, fill: colour(fill), align, verticalAlign: "top", lineHeight: LINE };
      options.graphic.push({ type: "text", x, y, style, silent: true });
      return LINE * lines.length;
    }

    function headed(panel) {
      if (panel.title) {
        top += write(wrapped(panel.title, fonts.head, width), 0, top, fonts.head, "--to-ink");
      }
      if (panel.note) {
        top += write(wrapped(panel.note, fonts.plain, width), 0, top, fonts.plain, "--to-ink-quiet");
      }
      top += panel.title || panel.note ? 4 : 0;
    }

    function rowsOf(panel, begin) {
      const found = [];
      for (const row of panel.rows) {
        const one = rowOf(row, fonts, room);
        const middle = (lines) => top + (one.height - LINE * lines.length) / 2;
        if (room.isWide) {
          write(one.label, 0, middle(one.label), fonts.strong, "--to-ink");
          write(one.text, width, middle(one.text), fonts.plain, "--to-ink", "right");
        } else {
          const below = write(one.label, 0, top, fonts.strong, "--to-ink");
          write(one.text, one.isOneLine ? width : 0, top + (one.isOneLine ? 0 : below), fonts.plain, "--to-ink", one.isOneLine ? "right" : "left");
        }
        found.push({ row, y: top - begin + one.above + (room.isWide ? one.height / 2 : 12) });
        top += one.height;
      }
      return found;
    }

    /* The lines stand behind the intervals, never behind words. */
    function edgesOf(panel, rows, height) {
      const half = panel.reach / 2;
      const edges = [[-half, "--to-line"], [half, "--to-line"], [0, "--to-ink-quiet"], [panel.threshold, "--to-look", 1]];
      const stretches = room.isWide ? [[0, height]] : rows.map(({ y }) => [y - 10, y + 10]);
      return edges
        .filter(([at]) => at !== null)
        .flatMap(([at, name, dashed]) => stretches.map((stretch) => ({ value: [at, ...stretch, dashed || 0], itemStyle: { color: colour(name) } })));
    }

    function drawnOn(panel, index, rows, height) {
      const said = (row) => [[panel.title, row.label].filter(Boolean).join(", "), row.text];
      const shown = rows.filter(({ row }) => row.ends.length);
      const place = { xAxisIndex: index, yAxisIndex: index };
      const bare = { gridIndex: index, axisLine: { show: false }, splitLine: { show: false } };
      options.xAxis.push({
        ...bare,
        type: "value",
        style: panel.style,
        inverse: panel.isHigherBetter === false,
        min: -panel.reach,
        max: panel.reach,
        interval: panel.reach / 2,
        axisLabel: { showMinLabel: false, showMaxLabel: false },
      });
      options.yAxis.push({ ...bare, type: "value", min: 0, max: height, inverse: true, show: false });
      options.series.push(
        { type: "custom", renderItem: "edge", silent: true, encode: { x: 0, y: [1, 2] }, ...place, data: edgesOf(panel, shown, height) },
        {
          type: "custom",
          renderItem: "whisker",
          silent: true,
          encode: { x: [0, 1], y: 2 },
          ...place,
          data: shown.map(({ row, y }) => ({ value: [row.ends[1], row.ends[2], y], itemStyle: { color: row.colour } })),
        },
        {
          type: "scatter",
          symbolSize: 11,
          encode: { x: 0, y: 1 },
          ...place,
          data: shown.map(({ row, y }) => ({ value: [row.ends[0], y], itemStyle: { color: row.colour }, said: said(row) })),
        },
      );
    }

    /* Which side is better: at the ends of the axis, or under it where its numbers leave no room. */
    function sides(panel) {
      const tick = wide((writers[panel.style] || plain)(-panel.reach / 2), fonts.plain);
      if (panel.isHigherBetter === null) {
        return;
      }
      if (room.plot / 4 - tick / 2 < wide("better →", fonts.plain) + 8) {
        top += LINE;
      }
      write(["← worse"], room.left, top + 5, fonts.plain, "--to-ink-quiet");
      write(["better →"], room.left + room.plot, top + 5, fonts.plain, "--to-ink-quiet", "right");
    }

    panels.forEach((panel) => {
      headed(panel);
      const begin = top;
      const rows = rowsOf(panel, begin);
      if (panel.reach !== null) {
        const index = options.grid.push({ left: room.left, width: room.plot, top: begin, height: top - begin, outerBoundsMode: "none" }) - 1;
        drawnOn(panel, index, rows, top - begin);
        sides(panel);
        top += AXIS;
      }
      top += 16;
    });
    return { options, height: top - 12 };
  }

  function valueText(data, value, low, high, n) {
    const write = writers[data.style] || plain;
    let text = value === null || value === undefined ? "–" : write(value);
    if (typeof low === "number" && typeof high === "number") {
      text += ` (${write(low)} to ${write(high)})`;
    }
    return typeof n === "number" ? `${text}, n = ${writers.count(n)}` : text;
  }

  /* Heading and lines of a hover text, for the eye (tooltip) and the ear (readout). */
  function described(data, items) {
    const first = items[0];
    if (first.data?.said) {
      return { heading: first.data.said[0], lines: items.map((item) => ({ name: "", text: item.data.said[1], colour: item.color })) };
    }
    const isTime = first.axisType === "xAxis.time";
    const at = isTime ? new Date(first.value[0]) : null;
    const heading = at ? `${triageops.localTime(at)} (${triageops.utcTime(at).slice(11, 16)} UTC)` : first.name || first.seriesName;
    const lines = items.map((item) => {
      const value = item.value;
      const text = !Array.isArray(value)
        ? valueText(data, value)
        : isTime
          ? valueText(data, value[1], value[2], value[3], value[4])
          : valueText(data, value[0], value[2], value[3]);
      return { name: item.seriesName?.startsWith("series") ? "" : item.seriesName, text, colour: item.color };
    });
    return { heading, lines };
  }

  function tooltip(data, params) {
    const items = (Array.isArray(params) ? params : [params]).filter((item) => item.seriesType !== "custom");
    if (!items.length) {
      return "";
    }
    const { heading, lines } = described(data, items);
    const box = document.createElement("div");
    const head = document.createElement("div");
    head.className = "to-tip-head";
    head.textContent = heading;
    box.append(head);
    for (const line of lines) {
      const row = document.createElement("div");
      const dot = document.createElement("span");
      const name = document.createElement("span");
      const value = document.createElement("b");
      row.className = "to-tip-row";
      dot.className = "to-tip-dot";
      dot.style.background = typeof line.colour === "string" ? line.colour : "";
      name.textContent = line.name;
      value.textContent = line.text;
      row.append(dot, name, value);
      box.append(row);
    }
    return box;
  }

  function axisLook(axis, colour, data) {
    const text = { color: colour("--to-ink-quiet"), hideOverlap: true };
    if (axis.type === "time") {
      text.formatter = { year: "{yyyy}", month: "{MMM}", day: "{d} {MMM}", hour: "{HH}:{mm}", minute: "{HH}:{mm}" };
    }
    if (axis.type === "value" || axis.type === "log") {
      const write = writers[axis.style || data.style] || plain;
      text.formatter = (value) => (axis.style && value === 0 ? "0" : write(value));
    }
    return {
      ...axis,
      name: axis.name === data.unit ? "" : axis.name,
      nameLocation: "middle",
      nameGap: 28,
      splitNumber: 4,
      nameTextStyle: { color: colour("--to-ink-quiet") },
      axisLabel: { ...text, ...axis.axisLabel },
      axisLine: { ...axis.axisLine, lineStyle: { color: colour("--to-line") } },
      axisTick: { show: false },
      splitLine: { show: axis.type !== "time" && axis.type !== "category", ...axis.splitLine, lineStyle: { color: colour("--to-line"), opacity: 0.6 } },
    };
  }

  function finished(data, given) {
    const look = getComputedStyle(document.documentElement);
    const colour = (name) => look.getPropertyValue(name).trim();
    const options = coloured(given, look);
    const tip = {
      confine: true,
      backgroundColor: colour("--to-surface"),
      borderColor: colour("--to-line"),
      textStyle: { color: colour("--to-ink"), fontSize: 12 },
      formatter: (params) => tooltip(data, params),
      axisPointer: { lineStyle: { color: colour("--to-ink-quiet") }, label: { show: false } },
    };
    const legend = { icon: "roundRect", itemWidth: 14, itemHeight: 4, itemGap: 18, top: 0, left: 0, type: "scroll" };
    options.backgroundColor = "transparent";
    options.textStyle = { fontFamily: getComputedStyle(document.body).fontFamily };
    options.tooltip = { ...tip, ...options.tooltip };
    options.legend = { ...legend, textStyle: { color: colour("--to-ink") }, ...options.legend };
    for (const name of ["xAxis", "yAxis"]) {
      if (options[name]) {
        options[name] = Array.isArray(options[name])
          ? options[name].map((axis) => axisLook(axis, colour, data))
          : axisLook(options[name], colour, data);
      }
    }
    if (options.xAxis?.type === "time") {
      /* Plain wheel scrolls the page; with Shift it zooms the plot. */
      options.dataZoom = [{ type: "inside", filterMode: "none", zoomOnMouseWheel: "shift", moveOnMouseMove: false }];
    }
    for (const series of options.series || []) {
      if (typeof series.renderItem === "string") {
        series.renderItem = shapes[series.renderItem];
      }
    }
    return options;
  }

  function show(chart) {
    const { panels } = chart.data.options;
    chart.width = chart.canvas.clientWidth;
    chart.options = chart.data.options;
    if (panels) {
      const laid = laidOut(panels, getComputedStyle(document.documentElement), chart.width);
      chart.options = laid.options;
      chart.canvas.style.height = `${laid.height}px`;
      chart.instance.resize();
    }
    chart.instance.setOption(finished(chart.data, chart.options), { notMerge: true });
    chart.canvas.setAttribute("data-drawn", "yes");
  }

  function update(figure) {
    const chart = drawn.get(figure.id);
    chart.data = readData(figure);
    show(chart);
  }

  /* The words of a forest stand where the width lets them. */
  function resize(chart) {
    if (!chart.data.options.panels) {
      chart.instance.resize();
    } else if (chart.canvas.clientWidth && chart.canvas.clientWidth !== chart.width) {
      show(chart);
    }
  }

  const next = (at, step, last) => (at === undefined ? (step > 0 ? 0 : last) : Math.min(last, Math.max(0, at + step)));

  function say(figure, { heading, lines }) {
    figure.querySelector(".to-chart-readout").textContent = `${heading}: ${lines.map((line) => `${line.name || ""} ${line.text}`).join("; ")}`;
  }

  /* Through all rows of all panels. */
  function walkPanels(chart, figure, step) {
    const stops = chart.options.series.flatMap((one, seriesIndex) =>
      one.type === "custom" ? [] : one.data.map((data, dataIndex) => ({ seriesIndex, dataIndex, data })),
    );
    chart.at = next(chart.at, step, stops.length - 1);
    const { seriesIndex, dataIndex, data } = stops[chart.at];
    chart.instance.dispatchAction({ type: "showTip", seriesIndex, dataIndex });
    say(figure, described(chart.data, [{ data }]));
  }

  /* Arrow keys walk through the values of the first line; what stands there is said aloud. */
  function walk(chart, figure, event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    const series = chart.options.series.filter((one) => one.type !== "custom" && one.data?.length);
    if (!step || !series.length) {
      return;
    }
    event.preventDefault();
    if (chart.data.options.panels) {
      walkPanels(chart, figure, step);
      return;
    }
    const last = Math.max(...series.map((one) => one.data.length)) - 1;
    chart.at = next(chart.at, step, last);
    const index = chart.options.series.indexOf(series[0]);
    chart.instance.dispatchAction({ type: "showTip", seriesIndex: index, dataIndex: chart.at });
    const axis = chart.options.xAxis;
    const items = series.map((one) => {
      const item = one.data[chart.at];
      const value = item && typeof item === "object" && !Array.isArray(item) ? item.value : item;
      const name = axis?.data?.[chart.at] || chart.options.yAxis?.data?.[chart.at];
      return { value, name, seriesName: one.name, axisType: axis?.type === "time" ? "xAxis.time" : "" };
    });
    say(figure, described(chart.data, items.filter((item) => item.value !== undefined)));
  }

  function draw(figure) {
    const canvas = figure.querySelector(".to-chart-canvas");
    const known = drawn.get(figure.id);
    if (known && known.canvas === canvas) {
      update(figure);
      return;
    }
    known?.instance.dispose();
    /* As the ruler writes: figures of one width would make texts wider than they were measured. */
    canvas.style.fontVariantNumeric = "normal";
    const instance = echarts.init(canvas, null, { renderer: "canvas" });
    const chart = { instance, canvas };
    drawn.set(figure.id, chart);
    update(figure);
    new ResizeObserver(() => resize(chart)).observe(canvas);
    canvas.addEventListener("keydown", (event) => walk(chart, canvas.closest("figure"), event));
  }

  let library = null;
  function load(address) {
    library ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = address;
      script.onload = resolve;
      script.onerror = reject;
      document.head.append(script);
    });
    return library;
  }

  async function drawCharts(root) {
    const figures = [...root.querySelectorAll("figure[data-chart]")];
    if (!figures.length) {
      return;
    }
    await Promise.all([load(figures[0].dataset.library), document.fonts.ready]);
    figures.filter((figure) => figure.isConnected).forEach(draw);
  }

  function save(figure, name, address) {
    const link = document.createElement("a");
    link.href = address;
    link.download = `${figure.id}.${name}`;
    link.click();
  }

  function tableText(figure) {
    const quoted = (cell) => `"${(cell.querySelector("time")?.dateTime || cell.textContent.trim()).replaceAll('"', '""')}"`;
    return [...figure.querySelectorAll("tr")].map((row) => [...row.cells].map(quoted).join(",")).join("\n");
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-save]");
    const figure = button?.closest("figure");
    if (!figure) {
      return;
    }
    if (button.dataset.save === "png") {
      const background = getComputedStyle(document.documentElement).getPropertyValue("--to-surface").trim();
      save(figure, "png", drawn.get(figure.id).instance.getDataURL({ pixelRatio: 2, backgroundColor: background }));
    } else {
      const address = URL.createObjectURL(new Blob([tableText(figure)], { type: "text/csv" }));
      save(figure, "csv", address);
      setTimeout(() => URL.revokeObjectURL(address), 1000);
    }
  });

  function redrawAll() {
    for (const id of drawn.keys()) {
      const figure = document.getElementById(id);
      if (figure?.dataset.chart) {
        update(figure);
      }
    }
  }

  window.triageops = Object.assign(window.triageops || {}, { drawCharts });
  /* What the theme's htmx has put into the page. */
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.elt.isConnected) {
      drawCharts(event.detail.elt);
      triageops.writeTimes(event.detail.elt);
    }
  });
  document.addEventListener("DOMContentLoaded", () => {
    drawCharts(document);
    let wasDark = document.documentElement.classList.contains("dark");
    new MutationObserver(() => {
      const isDark = document.documentElement.classList.contains("dark");
      if (isDark !== wasDark) {
        wasDark = isDark;
        redrawAll();
      }
    }).observe(document.documentElement, { attributes: true, attributeFilter: ["class"] });
  });
})();
