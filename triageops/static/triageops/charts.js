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
    money: (value) => `$${plain(value)}`,
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

  const shapes = { band, whisker };

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
      text.formatter = writers[data.style] || plain;
    }
    return {
      ...axis,
      name: axis.name === data.unit ? "" : axis.name,
      nameLocation: "middle",
      nameGap: 28,
      splitNumber: 4,
      nameTextStyle: { color: colour("--to-ink-quiet") },
      axisLabel: { ...text, ...axis.axisLabel },
      axisLine: { lineStyle: { color: colour("--to-line") } },
      axisTick: { show: false },
      splitLine: { show: axis.type !== "time" && axis.type !== "category", lineStyle: { color: colour("--to-line"), opacity: 0.6 } },
    };
  }

  function finished(data) {
    const look = getComputedStyle(document.documentElement);
    const colour = (name) => look.getPropertyValue(name).trim();
    const options = coloured(data.options, look);
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
        options[name] = axisLook(options[name], colour, data);
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

  function update(figure) {
    const chart = drawn.get(figure.id);
    chart.data = readData(figure);
    chart.instance.setOption(finished(chart.data), { notMerge: true });
    chart.canvas.setAttribute("data-drawn", "yes");
  }

  /* Arrow keys walk through the values of the first line; what stands there is said aloud. */
  function walk(chart, figure, event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    const series = (chart.data.options.series || []).filter((one) => one.type !== "custom" && one.data?.length);
    if (!step || !series.length) {
      return;
    }
    event.preventDefault();
    const last = Math.max(...series.map((one) => one.data.length)) - 1;
    chart.at = chart.at === undefined ? (step > 0 ? 0 : last) : Math.min(last, Math.max(0, chart.at + step));
    const index = chart.data.options.series.indexOf(series[0]);
    chart.instance.dispatchAction({ type: "showTip", seriesIndex: index, dataIndex: chart.at });
    const axis = chart.data.options.xAxis;
    const items = series.map((one) => {
      const item = one.data[chart.at];
      const value = item && typeof item === "object" && !Array.isArray(item) ? item.value : item;
      const name = axis?.data?.[chart.at] || chart.data.options.yAxis?.data?.[chart.at];
      return { value, name, seriesName: one.name, axisType: axis?.type === "time" ? "xAxis.time" : "" };
    });
    const { heading, lines } = described(chart.data, items.filter((item) => item.value !== undefined));
    figure.querySelector(".to-chart-readout").textContent = `${heading}: ${lines.map((line) => `${line.name || ""} ${line.text}`).join("; ")}`;
  }

  function draw(figure) {
    const canvas = figure.querySelector(".to-chart-canvas");
    const known = drawn.get(figure.id);
    if (known && known.canvas === canvas) {
      update(figure);
      return;
    }
    known?.instance.dispose();
    const instance = echarts.init(canvas, null, { renderer: "canvas" });
    const chart = { instance, canvas };
    drawn.set(figure.id, chart);
    update(figure);
    new ResizeObserver(() => instance.resize()).observe(canvas);
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
    await load(figures[0].dataset.library);
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
