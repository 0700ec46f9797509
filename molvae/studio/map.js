// A map of molecules: points over a density, with contours, marks, hover, picks and a lasso.
// The points are stamped into an image here and not by WebGL: without a graphics card WebGL needs 100 ms
// for 100,000 points, and this some 3 (pipelines/studio).
// Texts that come from files are only ever set as textContent.
const PAD = 32; // pixels around the image, so that no stamp has to be clipped
const pack = (r, g, b) => (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;
const VIRIDIS = [ // a polynomial in t for red, green and blue
  [0.2777, 0.1051, -0.3309, -4.6342, 6.2283, 4.7764, -5.4355],
  [0.0054, 1.4046, 0.2148, -5.7991, 14.1799, -13.7451, 4.6459],
  [0.3341, 1.3846, 0.0951, -19.3324, 56.6906, -65.3530, 26.3124]];
const SCALE = Uint32Array.from({ length: 256 }, (_, i) => pack(...VIRIDIS.map((c) =>
  Math.round(255 * Math.min(1, Math.max(0, c.reduceRight((sum, one) => sum * (i / 255) + one, 0)))))));
const RUNS = [pack(0, 114, 178), pack(213, 94, 0), pack(0, 158, 115), pack(204, 121, 167)];
const UNKNOWN = pack(158, 158, 158), WHITE = pack(255, 255, 255), CHOSEN = pack(211, 46, 26), DASH = pack(138, 148, 163);
const fade = (c) => pack(...[c & 255, (c >> 8) & 255, (c >> 16) & 255].map((one) => Math.round(0.25 * one + 0.75 * 240)));
const PALE = SCALE.map(fade);

function stamp(size, width) { // offsets in an image of the pixels of a disc, of its edge, and between
  const reach = Math.min(PAD / 2, Math.ceil(size / 2)), inside = [], between = [], border = [];
  const inner = size > 5 ? size / 2 - 1 : size / 2;
  for (let dy = -reach; dy <= reach; dy++) for (let dx = -reach; dx <= reach; dx++) {
    const r = Math.hypot(dx, dy), at = dy * width + dx;
    if (r <= inner - 0.5 || (r <= inner && size <= 5)) inside.push(at);
    else if (r < inner + 0.5 && size > 5) between.push(at);
    else if (r <= size / 2) border.push(at);
  }
  return [inside, between, border];
}
const mix = (a, b) => (((a >>> 1) & 0x7f7f7f7f) + ((b >>> 1) & 0x7f7f7f7f)) | 0xff000000;

export default {
  template: `
    <div class="molvae-map" style="position:relative;width:100%;height:100%;overflow:hidden;background:#fff;touch-action:none">
      <canvas ref="canvas" style="position:absolute;inset:0;width:100%;height:100%" tabindex="0"
        role="img" aria-label="Map of the molecules in latent space"></canvas>
      <div ref="tip" style="display:none;position:absolute;pointer-events:none;background:#fff;border:1px solid #bbb;border-radius:6px;padding:4px 6px;font-size:12px;line-height:1.35;box-shadow:0 2px 8px #0003;z-index:5;width:200px">
        <img ref="tipPicture" style="width:188px;height:140px;object-fit:contain" alt=""><div ref="tipText" style="white-space:pre-line;overflow-wrap:anywhere"></div>
      </div>
    </div>`,
  props: { mode: String },
  data: () => ({}),
  mounted() {
    this.n = 0; this.rows = new Float32Array(4096); this.states = new Uint8Array(1024);
    this.range = [0, 1]; this.selecting = false; this.solo = -1; this.byRun = false;
    this.view = { x: 0, y: 0, unit: 60 }; this.marks = {}; this.pointers = new Map(); this.frames = 0;
    this.context = this.$refs.canvas.getContext('2d', { alpha: false });
    const on = (name, f) => this.$refs.canvas.addEventListener(name, f, { passive: false });
    on('pointerdown', this.down); on('pointermove', this.move); on('pointerup', this.up);
    on('pointercancel', this.cancel); on('pointerleave', this.hideTip); on('wheel', this.wheel);
    on('keydown', this.key);
    this.watcher = new ResizeObserver(this.resize); this.watcher.observe(this.$el); this.resize();
    this.$el.map = this;
  },
  unmounted() { this.watcher?.disconnect(); },
  methods: {
    // what the server calls
    async load(url, view, range) {
      const wiped = this.wiped;
      const answer = await fetch(url, { credentials: 'same-origin' });
      const all = new Float32Array(await answer.arrayBuffer());
      if (wiped !== this.wiped) return; // other runs were chosen meanwhile
      if (view !== this.viewId) this.touched = false;
      this.n = 0; this.viewId = view; this.put(all); this.range = range; this.selecting = false;
      this.tint(); if (!this.touched) this.fit();
    },
    append(flat, range) {
      this.put(Float32Array.from(flat, (v) => v ?? NaN)); this.range = range;
      if (!this.touched) this.fit();
      this.tint();
    },
    wipe() { this.wiped = (this.wiped ?? 0) + 1; Object.assign(this, { n: 0, density: null, contours: null, box: null, touched: false, selecting: false }); this.hideTip(); this.draw(); },
    fitAll() { this.touched = false; this.fit(); },
    ground(density, side, box, contours) {
      const cells = Uint8Array.from(atob(density), (c) => c.charCodeAt(0)), fine = 512, grey = new Uint32Array(fine * fine);
      for (let i = 0; i < fine; i++) for (let j = 0; j < fine; j++) { // smooth, so that a frame need only look up
        const at = (k) => Math.min(side - 1.001, Math.max(0, (k + 0.5) * side / fine - 0.5));
        const y = at(i), x = at(j), k = (y | 0) * side + (x | 0), u = x % 1, v = y % 1;
        const value = 0.55 / 255 * ((1 - v) * ((1 - u) * cells[k] + u * cells[k + 1]) + v * ((1 - u) * cells[k + side] + u * cells[k + side + 1]));
        grey[i * fine + j] = pack(...[120, 130, 145].map((c) => Math.round(255 - value * (255 - c))));
      }
      Object.assign(this, { density: { grey, fine }, box, contours }); this.fit(); this.draw();
    },
    mark(marks) { Object.assign(this.marks, marks); this.draw(); },
    select(indices) {
      this.states.fill(0); for (const i of indices) this.states[i] = 1;
      this.selecting = indices.length > 0; this.tint();
    },
    style(solo, byRun) { this.solo = solo; this.byRun = byRun; this.tint(); },
    // points
    put(values) {
      const more = values.length / 4;
      while ((this.n + more) * 4 > this.rows.length) {
        const rows = new Float32Array(this.rows.length * 2); rows.set(this.rows); this.rows = rows;
        const states = new Uint8Array(rows.length / 4); states.set(this.states); this.states = states;
      }
      this.rows.set(values, this.n * 4); this.states.fill(0, this.n, this.n + more); this.n += more;
    },
    tint() {
      const { n, rows, states, range, selecting, byRun } = this;
      if (!(this.fill?.length >= n)) { this.fill = new Uint32Array(rows.length / 4); this.edge = new Uint32Array(rows.length / 4); }
      const { fill, edge } = this;
      const span = 255 / Math.max(range[1] - range[0], 1e-9);
      const scale = selecting ? PALE : SCALE, runs = selecting ? RUNS.map(fade) : RUNS;
      for (let i = 0; i < n; i++) {
        const value = rows[4 * i + 2], chosen = states[i];
        fill[i] = byRun ? (chosen ? RUNS : runs)[Math.min(rows[4 * i + 3], 3)] : value !== value ? UNKNOWN
          : (chosen ? SCALE : scale)[Math.min(255, Math.max(0, Math.round((value - range[0]) * span)))];
        edge[i] = chosen ? CHOSEN : WHITE;
      }
      this.draw();
    },
    // view
    resize() {
      this.dpr = Math.min(window.devicePixelRatio || 1, 2);
      this.w = this.$el.clientWidth || 1; this.h = this.$el.clientHeight || 1;
      const c = this.$refs.canvas; c.width = Math.round(this.w * this.dpr); c.height = Math.round(this.h * this.dpr);
      this.image = new ImageData(c.width + 2 * PAD, c.height + 2 * PAD);
      this.pixels = new Uint32Array(this.image.data.buffer);
      if (!this.touched) this.fit();
      this.draw();
    },
    fit() {
      let [l, b, r, t] = this.box || [Infinity, Infinity, -Infinity, -Infinity];
      const { n, rows } = this;
      for (let i = 0; i < n; i++) {
        const x = rows[4 * i], y = rows[4 * i + 1];
        if (x < l) l = x; if (x > r) r = x; if (y < b) b = y; if (y > t) t = y;
      }
      if (!(r > l)) return;
      this.view = { x: (l + r) / 2, y: (b + t) / 2, unit: 0.94 * Math.min(this.w / (r - l), this.h / (t - b || 1)) };
      this.draw();
    },
    toScreen(x, y) { return [this.w / 2 + (x - this.view.x) * this.view.unit, this.h / 2 - (y - this.view.y) * this.view.unit]; },
    toMap(px, py) { return [this.view.x + (px - this.w / 2) / this.view.unit, this.view.y - (py - this.h / 2) / this.view.unit]; },
    draw() { if (!this.waiting) { this.waiting = true; requestAnimationFrame(this.paint); } },
    paint() {
      this.waiting = false; this.frames++;
      const { dpr, context: c } = this;
      this.stampGround(); this.stampPoints();
      c.putImageData(this.image, -PAD, -PAD); c.setTransform(dpr, 0, 0, dpr, 0, 0);
      const { hollow, own, path, here, best } = this.marks;
      c.lineWidth = 1.6; c.strokeStyle = '#444';
      for (const [x, y] of hollow || []) { c.beginPath(); c.arc(...this.toScreen(x, y), 5.5, 0, 7); c.stroke(); }
      if (path?.length) {
        c.strokeStyle = '#d35400'; c.lineWidth = 2; this.trace(c, path); c.stroke();
        for (const p of path) { c.beginPath(); c.arc(...this.toScreen(...p), 3.5, 0, 7); c.fillStyle = '#d35400'; c.fill(); }
      }
      const size = best?.length > 8 ? 0.55 : 1;
      for (const p of best || []) this.star(c, ...this.toScreen(...p), size);
      for (const [x, y] of own || []) {
        const [px, py] = this.toScreen(x, y); c.fillStyle = '#fff'; c.strokeStyle = '#c0392b'; c.lineWidth = 2;
        c.beginPath(); c.rect(px - 4.5, py - 4.5, 9, 9); c.fill(); c.stroke();
      }
      for (const p of here || []) {
        const [x, y] = this.toScreen(...p); c.strokeStyle = '#c0392b'; c.lineWidth = 2.5; c.beginPath();
        c.moveTo(x - 11, y); c.lineTo(x - 4, y); c.moveTo(x + 4, y); c.lineTo(x + 11, y);
        c.moveTo(x, y - 11); c.lineTo(x, y - 4); c.moveTo(x, y + 4); c.lineTo(x, y + 11); c.stroke();
      }
      if (this.lasso?.length > 1) {
        c.strokeStyle = '#c0392b'; c.fillStyle = '#c0392b22'; c.lineWidth = 1.5;
        c.beginPath(); this.lasso.forEach(([x, y], i) => (i ? c.lineTo(x, y) : c.moveTo(x, y))); c.closePath(); c.fill(); c.stroke();
      }
    },
    frame() { // of the image: its size in pixels, pixels a unit, and where the map's origin lies
      const { width, height } = this.image, unit = this.view.unit * this.dpr;
      return { width, height, unit, left: width / 2 - this.view.x * unit, top: height / 2 + this.view.y * unit };
    },
    stampGround() {
      const { pixels } = this, { width, height, unit, left, top } = this.frame();
      pixels.fill(WHITE);
      if (!this.density) return;
      const { grey, fine } = this.density, [l, b, r, t] = this.box;
      const x0 = Math.max(0, Math.ceil(left + l * unit)), x1 = Math.min(width, left + r * unit);
      const across = fine / ((r - l) * unit), up = fine / ((t - b) * unit);
      for (let y = Math.max(0, Math.ceil(top - t * unit)); y < Math.min(height, top - b * unit); y++) {
        const row = Math.min(fine - 1, ((top - b * unit - y) * up) | 0) * fine;
        for (let x = x0; x < x1; x++) pixels[y * width + x] = grey[row + Math.min(fine - 1, ((x - left - l * unit) * across) | 0)];
      }
      for (const line of this.contours || []) {
        let done = 0; // pixels along the line
        for (let i = 1; i < line.length; i++) {
          const [ax, ay] = [left + line[i - 1][0] * unit, top - line[i - 1][1] * unit];
          const [bx, by] = [left + line[i][0] * unit, top - line[i][1] * unit], long = Math.hypot(bx - ax, by - ay);
          for (let s = 0; s < long; s += 0.7, done += 0.7) {
            const x = Math.round(ax + (bx - ax) * s / long), y = Math.round(ay + (by - ay) * s / long);
            if (done % (9 * this.dpr) < 5 * this.dpr && x >= 0 && x < width && y >= 0 && y < height) pixels[y * width + x] = DASH;
          }
        }
      }
    },
    stampPoints() {
      const { n, rows, states, pixels, fill, edge, solo, selecting, dpr } = this;
      const { width, height, unit, left, top } = this.frame();
      const size = dpr * Math.max(4, Math.min(11, (n > 20000 ? 4 : 9) * Math.sqrt(this.view.unit / 60)));
      for (const chosen of selecting ? [0, 1] : [0]) { // what is selected lies on top
        const [inside, between, border] = stamp((chosen ? 1.35 : 1) * size, width);
        for (let i = 0; i < n; i++) {
          if ((selecting && states[i] !== chosen) || (solo >= 0 && rows[4 * i + 3] !== solo)) continue;
          const x = left + rows[4 * i] * unit, y = top - rows[4 * i + 1] * unit;
          if (!(x >= PAD / 2 && y >= PAD / 2 && x < width - PAD / 2 && y < height - PAD / 2)) continue; // or NaN
          const at = (y | 0) * width + (x | 0);
          for (let j = 0; j < border.length; j++) pixels[at + border[j]] = edge[i];
          for (let j = 0, c = mix(edge[i], fill[i]); j < between.length; j++) pixels[at + between[j]] = c;
          for (let j = 0; j < inside.length; j++) pixels[at + inside[j]] = fill[i];
        }
      }
    },
    trace(c, line) { c.beginPath(); line.forEach((p, i) => c[i ? 'lineTo' : 'moveTo'](...this.toScreen(...p))); },
    star(c, x, y, size) {
      c.beginPath();
      for (let i = 0; i < 10; i++) {
        const r = size * (i % 2 ? 5 : 12), a = Math.PI * (i / 5 - 0.5); c[i ? 'lineTo' : 'moveTo'](x + r * Math.cos(a), y + r * Math.sin(a));
      }
      c.closePath(); c.fillStyle = '#e67e22'; c.strokeStyle = '#fff'; c.lineWidth = 2; c.stroke(); c.fill(); c.strokeStyle = '#7e3b06'; c.lineWidth = 1; c.stroke();
    },
    // finding
    nearest(px, py) {
      const [x, y] = this.toMap(px, py), { n, rows, solo } = this;
      let best = -1, least = (8 / this.view.unit) ** 2;
      for (let i = 0; i < n; i++) {
        const d = (rows[4 * i] - x) ** 2 + (rows[4 * i + 1] - y) ** 2;
        if (d < least && (solo < 0 || rows[4 * i + 3] === solo)) { least = d; best = i; }
      }
      return best;
    },
    marked(px, py, i) { // the mark that has a molecule, your own or one being evaluated, if it is nearer than point i
      const gap = (x, y) => { const [ax, ay] = this.toScreen(x, y); return Math.hypot(ax - px, ay - py); };
      let least = i < 0 ? 9 : gap(this.rows[4 * i], this.rows[4 * i + 1]), best = null;
      for (const kind of ['own', 'hollow']) {
        for (const [x, y, smiles] of this.marks[kind] || []) {
          const d = gap(x, y); if (d <= least) { least = d; best = { kind, smiles }; }
        }
      }
      return best;
    },
    where(event) { const box = this.$el.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; },
    zoom(px, py, factor) {
      const [x, y] = this.toMap(px, py); this.view.unit *= factor; this.touched = true;
      this.view.x = x - (px - this.w / 2) / this.view.unit; this.view.y = y + (py - this.h / 2) / this.view.unit; this.draw();
    },
    // hands
    wheel(event) { event.preventDefault(); this.zoom(...this.where(event), Math.exp(-event.deltaY * 0.0015)); this.hideTip(); },
    key(event) {
      const step = 60 / this.view.unit, keys = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
      if (keys[event.key]) { this.view.x += keys[event.key][0]; this.view.y += keys[event.key][1]; }
      else if (event.key === '+' || event.key === '-') this.zoom(this.w / 2, this.h / 2, event.key === '+' ? 1.25 : 0.8);
      else if (event.key === '0') this.fitAll(); else return;
      event.preventDefault(); this.draw();
    },
    down(event) {
      this.$refs.canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, this.where(event)); this.moved = 0; this.hideTip();
      if (this.mode === 'lasso') this.lasso = [this.where(event)];
    },
    move(event) {
      const now = this.where(event), before = this.pointers.get(event.pointerId);
      if (!before) { this.hover(...now); return; }
      const [dx, dy] = [now[0] - before[0], now[1] - before[1]]; this.moved += Math.abs(dx) + Math.abs(dy);
      if (this.pointers.size === 2) {
        const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
        const gap = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
        this.zoom((now[0] + other[0]) / 2, (now[1] + other[1]) / 2, gap(now) / gap(before));
      } else if (this.lasso) this.lasso.push(now);
      else if (this.moved > 4) { this.view.x -= dx / this.view.unit; this.view.y += dy / this.view.unit; this.touched = true; }
      this.pointers.set(event.pointerId, now); this.draw();
    },
    up(event) {
      const [px, py] = this.where(event), alone = this.pointers.size === 1; this.pointers.delete(event.pointerId);
      const lasso = this.lasso; this.lasso = null;
      if (lasso?.length > 2 && this.moved > 8) { this.$emit('lasso', this.inside(lasso)); this.draw(); return; }
      if (!alone || this.moved > 4) { this.draw(); return; }
      const i = this.nearest(px, py), [x, y] = this.toMap(px, py), marked = this.marked(px, py, i);
      if (marked) this.$emit('marked', { ...marked, second: event.shiftKey });
      else if (i >= 0) this.$emit('pick', { index: i, second: event.shiftKey });
      else this.$emit('place', { x, y, second: event.shiftKey });
    },
    cancel(event) { this.pointers.delete(event.pointerId); this.lasso = null; },
    inside(lasso) {
      const { n, rows, solo } = this, line = lasso.map(([x, y]) => this.toMap(x, y)), found = [];
      for (let i = 0; i < n; i++) {
        const x = rows[4 * i], y = rows[4 * i + 1]; let odd = false;
        if (solo >= 0 && rows[4 * i + 3] !== solo) continue;
        for (let a = 0, b = line.length - 1; a < line.length; b = a++) {
          if ((line[a][1] > y) !== (line[b][1] > y) && x < (line[b][0] - line[a][0]) * (y - line[a][1]) / (line[b][1] - line[a][1]) + line[a][0]) odd = !odd;
        }
        if (odd) found.push(i);
      }
      return found;
    },
    hover(px, py) {
      const point = this.nearest(px, py), marked = this.marked(px, py, point), i = marked ? -2 : point;
      if (i === this.hovered && marked?.smiles === this.shown) { if (i !== -1) this.putTip(px, py); return; }
      this.hovered = i; this.shown = marked?.smiles; clearTimeout(this.timer); this.$refs.tip.style.display = 'none';
      this.$refs.canvas.style.cursor = i !== -1 ? 'pointer' : 'crosshair';
      if (marked) {
        this.$refs.tipPicture.src = `/molecule.svg?smiles=${encodeURIComponent(marked.smiles)}`;
        this.$refs.tipText.textContent = `${marked.kind === 'own' ? 'your molecule' : 'being evaluated'}\n${marked.smiles}`;
        this.$refs.tip.style.display = 'block'; this.putTip(px, py);
      }
      if (i >= 0) this.timer = setTimeout(() => this.showTip(i, px, py), 60);
    },
    async showTip(i, px, py) {
      const answer = await fetch(`card?index=${i}&view=${encodeURIComponent(this.viewId)}`, { credentials: 'same-origin' });
      if (!answer.ok || this.hovered !== i) return;
      const card = await answer.json();
      if (this.hovered !== i) return;
      this.$refs.tipPicture.src = card.picture; this.$refs.tipText.textContent = card.lines.join('\n');
      this.$refs.tip.style.display = 'block'; this.putTip(px, py);
    },
    putTip(px, py) {
      const tip = this.$refs.tip; if (tip.style.display === 'none') return;
      tip.style.left = `${px + 220 > this.w ? Math.max(0, px - 216) : px + 14}px`;
      tip.style.top = `${Math.max(0, Math.min(py + 12, this.h - tip.offsetHeight - 4))}px`;
    },
    hideTip() { clearTimeout(this.timer); this.hovered = -1; this.shown = undefined; if (this.$refs.tip) this.$refs.tip.style.display = 'none'; },
  },
};
