// A map of molecules: WebGL points over a density, with contours, marks, hover, picks and a lasso.
// Texts that come from files are only ever set as textContent.
const VERTEX = `#version 300 es
in vec4 row; in float state; uniform vec2 scale, shift; uniform float size, solo;
out float value; out float faint; flat out float run;
void main() {
  gl_Position = vec4(row.xy * scale + shift, 0.0, 1.0);
  value = row.z; run = row.w; faint = state;
  gl_PointSize = size * (state > 0.5 ? 1.35 : 1.0);
  if (isnan(row.x) || (solo >= 0.0 && row.w != solo)) gl_Position = vec4(9.0, 9.0, 9.0, 1.0);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in float value; in float faint; flat in float run; uniform vec2 range; uniform float selecting, byRun;
out vec4 colour;
vec3 viridis(float t) {
  const vec3 c0 = vec3(0.2777, 0.0054, 0.3341), c1 = vec3(0.1051, 1.4046, 1.3846);
  const vec3 c2 = vec3(-0.3309, 0.2148, 0.0951), c3 = vec3(-4.6342, -5.7991, -19.3324);
  const vec3 c4 = vec3(6.2283, 14.1799, 56.6906), c5 = vec3(4.7764, -13.7451, -65.3530);
  const vec3 c6 = vec3(-5.4355, 4.6459, 26.3124);
  return c0 + t * (c1 + t * (c2 + t * (c3 + t * (c4 + t * (c5 + t * c6)))));
}
void main() {
  vec2 p = gl_PointCoord * 2.0 - 1.0; float r = length(p);
  if (r > 1.0) discard;
  vec3 inside = viridis(clamp((value - range.x) / max(range.y - range.x, 1e-9), 0.0, 1.0));
  if (byRun > 0.5) inside = run < 0.5 ? vec3(0.0, 0.45, 0.70) : run < 1.5 ? vec3(0.84, 0.37, 0.0)
    : run < 2.5 ? vec3(0.0, 0.62, 0.45) : vec3(0.8, 0.47, 0.65);
  if (isnan(value)) inside = vec3(0.62);
  float alpha = selecting > 0.5 && faint < 0.5 ? 0.16 : 0.92;
  vec3 edge = faint > 0.5 ? vec3(0.83, 0.18, 0.10) : vec3(1.0);
  colour = vec4(r > 0.78 ? edge : inside, alpha);
}`;

export default {
  template: `
    <div class="molvae-map" style="position:relative;width:100%;height:100%;overflow:hidden;background:#fff;touch-action:none">
      <canvas ref="below" style="position:absolute;inset:0;width:100%;height:100%"></canvas>
      <canvas ref="gl" style="position:absolute;inset:0;width:100%;height:100%"></canvas>
      <canvas ref="above" style="position:absolute;inset:0;width:100%;height:100%" tabindex="0"
        role="img" aria-label="Map of the molecules in latent space"></canvas>
      <div ref="tip" style="display:none;position:absolute;pointer-events:none;background:#fff;border:1px solid #bbb;border-radius:6px;padding:4px 6px;font-size:12px;line-height:1.35;box-shadow:0 2px 8px #0003;z-index:5;width:200px">
        <img ref="tipPicture" style="width:188px;height:140px;object-fit:contain" alt=""><div ref="tipText" style="white-space:pre-line;overflow-wrap:anywhere"></div>
      </div>
    </div>`,
  props: { mode: String },
  data: () => ({}),
  mounted() {
    this.n = 0; this.rows = new Float32Array(4096); this.states = new Float32Array(1024);
    this.range = [0, 1]; this.selecting = false; this.solo = -1; this.byRun = false;
    this.view = { x: 0, y: 0, unit: 60 }; this.marks = {}; this.pointers = new Map(); this.frames = 0;
    const gl = this.gl = this.$refs.gl.getContext('webgl2', { antialias: false, premultipliedAlpha: false });
    if (!gl) { this.$emit('nogl'); return; }
    const program = this.program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind); gl.shaderSource(shader, text); gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) console.error(gl.getShaderInfoLog(shader));
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program); gl.useProgram(program);
    this.at = Object.fromEntries(['scale', 'shift', 'size', 'range', 'selecting', 'solo', 'byRun']
      .map((name) => [name, gl.getUniformLocation(program, name)]));
    this.buffers = ['row', 'state'].map((name, i) => {
      const buffer = gl.createBuffer(), place = gl.getAttribLocation(program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer); gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, i ? 1 : 4, gl.FLOAT, false, 0, 0);
      return buffer;
    });
    gl.enable(gl.BLEND); gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    const on = (name, f) => this.$refs.above.addEventListener(name, f, { passive: false });
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
      const answer = await fetch(url, { credentials: 'same-origin' });
      const all = new Float32Array(await answer.arrayBuffer());
      this.n = 0; this.viewId = view; this.grid = null; this.put(all); this.range = range;
      this.upload(); if (!this.touched) this.fit(); this.draw();
    },
    append(flat, range) { this.put(Float32Array.from(flat, (v) => v ?? NaN)); this.range = range; this.grid = null; this.upload(); this.draw(); },
    ground(density, side, box, contours) {
      const bytes = Uint8Array.from(atob(density), (c) => c.charCodeAt(0));
      const picture = new ImageData(side, side);
      bytes.forEach((v, i) => {
        const j = 4 * ((side - 1 - Math.floor(i / side)) * side + i % side);
        picture.data.set([120, 130, 145, Math.round(v * 0.55)], j);
      });
      const canvas = document.createElement('canvas'); canvas.width = canvas.height = side;
      canvas.getContext('2d').putImageData(picture, 0, 0);
      Object.assign(this, { density: canvas, box, contours }); this.fit(); this.draw();
    },
    mark(marks) { Object.assign(this.marks, marks); this.draw(); },
    select(indices) {
      this.states.fill(0); for (const i of indices) this.states[i] = 1;
      this.selecting = indices.length > 0; this.upload(); this.draw();
    },
    style(solo, byRun) { this.solo = solo; this.byRun = byRun; this.draw(); },
    // points
    put(values) {
      const more = values.length / 4;
      while ((this.n + more) * 4 > this.rows.length) {
        const rows = new Float32Array(this.rows.length * 2); rows.set(this.rows); this.rows = rows;
        const states = new Float32Array(rows.length / 4); states.set(this.states); this.states = states;
      }
      this.rows.set(values, this.n * 4); this.states.fill(0, this.n, this.n + more); this.n += more;
    },
    upload() {
      const gl = this.gl; if (!gl) return;
      for (const [i, a] of [[0, this.rows.subarray(0, this.n * 4)], [1, this.states.subarray(0, this.n)]]) {
        gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[i]); gl.bufferData(gl.ARRAY_BUFFER, a, gl.DYNAMIC_DRAW);
      }
    },
    // view
    resize() {
      this.dpr = Math.min(window.devicePixelRatio || 1, 2);
      this.w = this.$el.clientWidth || 1; this.h = this.$el.clientHeight || 1;
      for (const name of ['below', 'gl', 'above']) {
        const c = this.$refs[name]; c.width = this.w * this.dpr; c.height = this.h * this.dpr;
      }
      if (!this.touched) this.fit();
      this.draw();
    },
    fit() {
      let [l, b, r, t] = this.box || [Infinity, Infinity, -Infinity, -Infinity];
      for (let i = 0; i < this.n; i++) {
        const x = this.rows[4 * i], y = this.rows[4 * i + 1];
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
      const { gl, w, h, view, dpr } = this;
      if (gl) {
        gl.viewport(0, 0, w * dpr, h * dpr); gl.clearColor(0, 0, 0, 0); gl.clear(gl.COLOR_BUFFER_BIT);
        const sx = 2 * view.unit / w, sy = 2 * view.unit / h;
        gl.uniform2f(this.at.scale, sx, sy); gl.uniform2f(this.at.shift, -view.x * sx, -view.y * sy);
        gl.uniform1f(this.at.size, dpr * Math.max(4, Math.min(11, (this.n > 20000 ? 4 : 9) * Math.sqrt(view.unit / 60))));
        gl.uniform2f(this.at.range, ...this.range); gl.uniform1f(this.at.selecting, this.selecting ? 1 : 0);
        gl.uniform1f(this.at.solo, this.solo); gl.uniform1f(this.at.byRun, this.byRun ? 1 : 0);
        gl.drawArrays(gl.POINTS, 0, this.n);
      }
      const below = this.$refs.below.getContext('2d'), c = this.$refs.above.getContext('2d');
      for (const d of [below, c]) { d.setTransform(dpr, 0, 0, dpr, 0, 0); d.clearRect(0, 0, w, h); }
      if (this.density) {
        const [x, y] = this.toScreen(this.box[0], this.box[3]), [x1, y1] = this.toScreen(this.box[2], this.box[1]);
        below.drawImage(this.density, x, y, x1 - x, y1 - y);
      }
      below.strokeStyle = '#8a94a3'; below.setLineDash([5, 4]);
      for (const line of this.contours || []) { this.trace(below, line); below.stroke(); }
      const { hollow, path, here, best } = this.marks;
      c.lineWidth = 1.6; c.strokeStyle = '#444';
      for (const [x, y] of hollow || []) { c.beginPath(); c.arc(...this.toScreen(x, y), 5.5, 0, 7); c.stroke(); }
      if (path?.length) {
        c.strokeStyle = '#d35400'; c.lineWidth = 2; this.trace(c, path); c.stroke();
        for (const p of path) { c.beginPath(); c.arc(...this.toScreen(...p), 3.5, 0, 7); c.fillStyle = '#d35400'; c.fill(); }
      }
      const size = best?.length > 8 ? 0.55 : 1;
      for (const p of best || []) this.star(c, ...this.toScreen(...p), size);
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
    trace(c, line) { c.beginPath(); line.forEach((p, i) => c[i ? 'lineTo' : 'moveTo'](...this.toScreen(...p))); },
    star(c, x, y, size) {
      c.beginPath();
      for (let i = 0; i < 10; i++) {
        const r = size * (i % 2 ? 5 : 12), a = Math.PI * (i / 5 - 0.5); c[i ? 'lineTo' : 'moveTo'](x + r * Math.cos(a), y + r * Math.sin(a));
      }
      c.closePath(); c.fillStyle = '#e67e22'; c.strokeStyle = '#fff'; c.lineWidth = 2; c.stroke(); c.fill(); c.strokeStyle = '#7e3b06'; c.lineWidth = 1; c.stroke();
    },
    // finding
    index() {
      const cells = new Map(), size = this.cell = 14 / this.view.unit;
      for (let i = 0; i < this.n; i++) {
        const key = Math.floor(this.rows[4 * i] / size) * 65536 + Math.floor(this.rows[4 * i + 1] / size);
        const found = cells.get(key); if (found) found.push(i); else cells.set(key, [i]);
      }
      this.grid = cells; this.gridUnit = this.view.unit;
    },
    nearest(px, py) {
      if (!this.grid || this.gridUnit !== this.view.unit) this.index();
      const [x, y] = this.toMap(px, py), cx = Math.floor(x / this.cell), cy = Math.floor(y / this.cell);
      let best = -1, least = (8 / this.view.unit) ** 2;
      for (let dx = -1; dx < 2; dx++) for (let dy = -1; dy < 2; dy++) {
        for (const i of this.grid.get((cx + dx) * 65536 + cy + dy) || []) {
          if (this.solo >= 0 && this.rows[4 * i + 3] !== this.solo) continue;
          const d = (this.rows[4 * i] - x) ** 2 + (this.rows[4 * i + 1] - y) ** 2; if (d < least) { least = d; best = i; }
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
      else if (event.key === '0') this.fit(); else return;
      event.preventDefault(); this.draw();
    },
    down(event) {
      this.$refs.above.setPointerCapture(event.pointerId);
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
      const i = this.nearest(px, py), [x, y] = this.toMap(px, py);
      if (i >= 0) this.$emit('pick', { index: i, second: event.shiftKey });
      else this.$emit('place', { x, y, second: event.shiftKey });
    },
    cancel(event) { this.pointers.delete(event.pointerId); this.lasso = null; },
    inside(lasso) {
      const line = lasso.map(([x, y]) => this.toMap(x, y)), found = [];
      for (let i = 0; i < this.n; i++) {
        const x = this.rows[4 * i], y = this.rows[4 * i + 1]; let odd = false;
        if (this.solo >= 0 && this.rows[4 * i + 3] !== this.solo) continue;
        for (let a = 0, b = line.length - 1; a < line.length; b = a++) {
          if ((line[a][1] > y) !== (line[b][1] > y) && x < (line[b][0] - line[a][0]) * (y - line[a][1]) / (line[b][1] - line[a][1]) + line[a][0]) odd = !odd;
        }
        if (odd) found.push(i);
      }
      return found;
    },
    hover(px, py) {
      const i = this.nearest(px, py);
      if (i === this.hovered) { if (i >= 0) this.putTip(px, py); return; }
      this.hovered = i; clearTimeout(this.timer); this.$refs.tip.style.display = 'none';
      this.$refs.above.style.cursor = i >= 0 ? 'pointer' : 'crosshair';
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
    hideTip() { clearTimeout(this.timer); this.hovered = -1; if (this.$refs.tip) this.$refs.tip.style.display = 'none'; },
  },
};
