/* SPDX-License-Identifier: MIT */
/* The last 15 minutes as lines, and the same as a table. */
import {
  byId,
  make,
  makeSvg,
  setAttribute,
  setHidden,
  setText,
} from './dom.js';
import {
  NONE,
  clock,
  count,
  milliseconds,
  percent,
  rate,
} from './format.js';

const SPANS_S = [300, 900]; /* the first that all points fit in */
const WIDTH = 900;
const HEIGHT = 100;
const TABLE_STEP_S = 60;

/* What each chart shows; least: the scale does not get smaller than that. */
const CHARTS = [
  {
    title: 'Requests',
    unit: '/s',
    show: rate,
    least: 1,
    lines: [
      ['requests', (point) => point.requests_per_s],
      ['handshakes', (point) => point.handshakes_per_s],
    ],
  },
  {
    title: 'Sessions',
    unit: '',
    show: count,
    least: 4,
    lines: [
      ['all', (point) => point.sessions],
      ['websocket', (point) => point.sessions_websocket],
    ],
  },
  {
    title: 'Upgrade success',
    unit: '',
    show: percent,
    least: 1,
    lines: [['succeeded', (point) => point.upgrade_success]],
  },
  {
    title: 'Misroutes',
    unit: '/s',
    show: rate,
    least: 0.1,
    lines: [['misroutes', (point) => point.misroutes_per_s]],
  },
  {
    title: 'Handshake latency',
    unit: '',
    show: milliseconds,
    least: 1,
    lines: [
      ['p99', (point) => point.handshake_p99_ms],
      ['p50', (point) => point.handshake_p50_ms],
    ],
  },
  {
    title: 'Sessions ended',
    unit: '/s',
    show: rate,
    least: 0.1,
    lines: [['ended', (point) => point.ended_per_s]],
  },
];

/* The next of 1, 2, 5, 10, 20, ... */
function roundUp(value) {
  const ten = 10 ** Math.floor(Math.log10(value));
  const factor = [1, 2, 5, 10].find((one) => one * ten >= value * 0.9999);
  return factor * ten;
}

const isKnown = (value) => typeof value === 'number' && isFinite(value);

/* A line breaks where nothing is known. A lone point is drawn as a dash. */
function pathOf(marks) {
  let isOpen = false;
  return marks
    .map(({ x, y }) => {
      const wasOpen = isOpen;
      isOpen = y !== null;
      if (!isOpen) return '';
      return `${wasOpen ? 'L' : `M${(x - 2).toFixed(1)} ${y.toFixed(1)}L`}` +
        `${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join('');
}

class Chart {
  #points = [];

  constructor(spec, number) {
    this.spec = spec;
    this.value = make('p', { class: 'value' }, NONE);
    this.legend = make('p', { class: 'legend' });
    this.top = make('span', { class: 'top' });
    this.read = make('span', { class: 'read' });
    this.begin = make('span');
    this.title = makeSvg('title', { id: `chart-title-${number}` });
    this.desc = makeSvg('desc', { id: `chart-desc-${number}` });
    this.paths = spec.lines.map((_, i) =>
      makeSvg('path', { class: `line line-${i}` }),
    );
    this.cursor = makeSvg('path', { class: 'cursor' });
    this.svg = makeSvg(
      'svg',
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        preserveAspectRatio: 'none',
        role: 'img',
        'aria-labelledby': this.title.id,
        'aria-describedby': this.desc.id,
      },
      this.title,
      this.desc,
      makeSvg('path', { class: 'grid', d: 'M0 0H900M0 50H900M0 100H900' }),
      makeSvg('path', { class: 'grid', d: 'M300 0V100M600 0V100' }),
      ...this.paths,
      this.cursor,
    );
    this.svg.addEventListener('pointermove', (event) => this.#point(event));
    this.svg.addEventListener('pointerleave', () => this.#leave());
    this.node = this.#frame();
  }

  #frame() {
    const { spec } = this;
    const hasKey = spec.lines.length > 1;
    this.names = hasKey ? spec.lines.map(() => make('span')) : [];
    this.legend.append(
      ...this.names.map((name, i) => {
        const line = makeSvg('path', {
          class: `line line-${i}`,
          d: 'M0 4H24',
        });
        const key = { viewBox: '0 0 24 8', class: 'key', 'aria-hidden': true };
        return make('span', {}, makeSvg('svg', key, line), ' ', name);
      }),
    );
    return make(
      'article',
      { class: 'card chart' },
      make('h3', {}, spec.title),
      this.value,
      this.legend,
      make('div', { class: 'plot' }, this.top, this.svg),
      make(
        'p',
        { class: 'axis', 'aria-hidden': 'true' },
        this.begin,
        this.read,
        make('span', {}, 'now'),
      ),
    );
  }

  #unit(value) {
    const { show, unit } = this.spec;
    return unit && isKnown(value) ? `${show(value)}${unit}` : show(value);
  }

  update(points) {
    const { lines, least } = this.spec;
    const end = points.length > 0 ? Date.parse(points.at(-1).time) : 0;
    const rows = lines.map(([, of]) => points.map(of));
    const most = roundUp(Math.max(least, ...rows.flat().filter(isKnown)));
    const first = points.length > 0 ? Date.parse(points[0].time) : 0;
    const span =
      SPANS_S.find((one) => end - first <= one * 1000) ?? SPANS_S.at(-1);
    const scale = WIDTH / (span * 1000);
    const xs = points.map(
      ({ time }) => WIDTH - (end - Date.parse(time)) * scale,
    );
    setText(this.begin, `${span / 60} min ago`);
    setText(this.title, `${this.spec.title}, last ${span / 60} minutes`);
    rows.forEach((row, i) =>
      setAttribute(
        this.paths[i],
        'd',
        pathOf(
          row.map((value, at) => ({
            x: xs[at],
            y: isKnown(value) ? HEIGHT - (value / most) * HEIGHT : null,
          })),
        ),
      ),
    );
    this.#points = points.map((point, at) => ({ point, x: xs[at] }));
    setText(this.top, this.#unit(most));
    setText(this.desc, this.#describe(rows));
  }

  /* What is true now; `values` are those of the lines. */
  now(values) {
    setText(this.value, this.#unit(values[0]));
    this.names.forEach((node, i) =>
      setText(node, `${this.spec.lines[i][0]} ${this.#unit(values[i])}`),
    );
  }

  #describe(rows) {
    return this.spec.lines
      .map(([name], i) => {
        const known = rows[i].filter(isKnown);
        if (known.length === 0) return `${name}: nothing yet`;
        return (
          `${name}: last ${this.#unit(known.at(-1))}, ` +
          `lowest ${this.#unit(Math.min(...known))}, ` +
          `highest ${this.#unit(Math.max(...known))}`
        );
      })
      .join('; ');
  }

  #point({ clientX }) {
    const box = this.svg.getBoundingClientRect();
    const x = ((clientX - box.left) / box.width) * WIDTH;
    if (this.#points.length === 0 || box.width === 0) return;
    const near = this.#points.reduce((best, one) =>
      Math.abs(one.x - x) < Math.abs(best.x - x) ? one : best,
    );
    const texts = this.spec.lines.map(([name, of]) =>
      this.spec.lines.length > 1
        ? `${name} ${this.spec.show(of(near.point))}`
        : this.spec.show(of(near.point)),
    );
    setAttribute(this.cursor, 'd', `M${near.x.toFixed(1)} 0V${HEIGHT}`);
    setText(this.read, `${clock(near.point.time)}: ${texts.join(', ')}`);
  }

  #leave() {
    this.cursor.removeAttribute('d');
    setText(this.read, '');
  }
}

/* Of each whole minute the last point. */
function byMinute(points) {
  const minutes = new Map();
  for (const point of points)
    minutes.set(
      Math.floor(Date.parse(point.time) / (TABLE_STEP_S * 1000)),
      point,
    );
  return [...minutes.values()].reverse();
}

export class Charts {
  #last = null;
  #charts = CHARTS.map((spec, i) => new Chart(spec, i));

  constructor(model) {
    this.model = model;
    byId('charts').append(...this.#charts.map(({ node }) => node));
    this.toggle = byId('charts-as-table');
    this.toggle.addEventListener('click', () => {
      const isTable = this.toggle.getAttribute('aria-pressed') !== 'true';
      setAttribute(this.toggle, 'aria-pressed', isTable);
      setHidden(byId('charts'), isTable);
      setHidden(byId('charts-table'), !isTable);
      this.#last = null;
      this.update();
    });
    byId('charts-head').append(
      make('th', { scope: 'col' }, 'Time'),
      ...CHARTS.flatMap(({ title, lines }) =>
        lines.map(([name]) =>
          make('th', { scope: 'col' }, lines.length > 1
            ? `${title}: ${name}` : title),
        ),
      ),
    );
  }

  update() {
    const { points, status } = this.model;
    const { now } = status;
    const values = [
      [now.requests_per_s, now.handshakes_per_s],
      [now.sessions, now.sessions_websocket],
      [now.upgrade_success],
      [now.misroutes_per_s],
      [now.handshake_p99_ms, now.handshake_p50_ms],
      [now.ended_per_s],
    ];
    this.#charts.forEach((chart, i) => chart.now(values[i]));
    const last = points.at(-1)?.time ?? '';
    if (last === this.#last) return;
    this.#last = last;
    if (this.toggle.getAttribute('aria-pressed') === 'true')
      this.#fillTable(points);
    else this.#charts.forEach((chart) => chart.update(points));
  }

  #fillTable(points) {
    byId('charts-body').replaceChildren(
      ...byMinute(points).map((point) =>
        make(
          'tr',
          {},
          make('th', { scope: 'row' }, clock(point.time)),
          ...CHARTS.flatMap(({ lines, show }) =>
            lines.map(([, of]) => make('td', {}, show(of(point)))),
          ),
        ),
      ),
    );
  }
}
