// Molecules as a table or as cards. What changes is changed here and the rest is left as it is: the page's
// framework would make every picture anew whenever anything on the page changes.
// Texts that come from files are only ever set as textContent.
const make = (tag, name = '', style = '') => Object.assign(document.createElement(tag), { className: name, style });
const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };

export default {
  template: '<div style="overflow-x:auto"></div>',
  props: { form: String, columns: Array, rows: Array, chosen: Array },
  emits: ['pick', 'choose'],
  mounted() {
    this.seeing = new IntersectionObserver((found) => { // what is out of sight is not drawn
      for (const one of found) { one.target.seen = one.isIntersecting; one.target.load(); }
    }, { rootMargin: '200px' });
    this.$watch(() => [this.form, this.columns, this.rows, this.chosen], this.draw, { immediate: true });
  },
  unmounted() { this.seeing?.disconnect(); },
  methods: {
    draw() {
      const form = JSON.stringify([this.form, this.columns, this.rows.length > 0]);
      if (form !== this.drawn) { this.drawn = form; this.nodes = new Map(); this.seeing.disconnect(); this.begin(); }
      const nodes = new Map(), chosen = new Set(this.chosen);
      for (const row of this.rows) {
        const node = this.nodes.get(row.row) ?? (this.form === 'grid' ? this.makeCard(row.row) : this.makeRow(row.row));
        node.fill(row, chosen.has(row.row)); nodes.set(row.row, node);
      }
      for (const [row, node] of this.nodes) if (!nodes.has(row)) { node.remove(); this.seeing.unobserve(node.querySelector('img')); }
      this.nodes = nodes;
      [...nodes.values()].forEach((node, i) => {
        if (this.body.children[i] !== node) this.body.insertBefore(node, this.body.children[i] ?? null);
      });
      if (this.all) this.all.checked = nodes.size > 0 && [...nodes.keys()].every((row) => chosen.has(row));
    },
    begin() {
      this.all = null;
      if (!this.rows.length) { this.body = this.$el; this.$el.replaceChildren(); return; }
      if (this.form === 'grid') { this.body = make('div', 'cards'); this.$el.replaceChildren(this.body); return; }
      const table = make('table', 'rows'), head = table.createTHead().insertRow();
      this.all = this.makeBox(() => this.rows.map((row) => row.row), 'select all of this page');
      head.append(make('th')); head.cells[0].append(this.all);
      for (const [title] of [[''], ...this.columns]) { const cell = make('th'); cell.textContent = title; head.append(cell); }
      this.body = table.createTBody(); this.$el.replaceChildren(table);
    },
    makeBox(rows, label) {
      const box = make('input'); box.type = 'checkbox'; box.ariaLabel = label;
      box.onclick = (event) => event.stopPropagation();
      box.onchange = () => this.$emit('choose', { rows: rows(), on: box.checked });
      return box;
    },
    makePicture(width, height) {
      const picture = make('img', '', `width:${width};height:${height}px;object-fit:contain`);
      let wanted = null;
      picture.load = () => {
        if (!picture.seen || picture.getAttribute('src') === wanted.picture) return;
        picture.alt = wanted.smiles; picture.setAttribute('src', wanted.picture);
      };
      this.seeing.observe(picture);
      return [picture, (row) => { wanted = row; picture.load(); }];
    },
    makeRow(number) {
      const node = make('tr'), box = this.makeBox(() => [number], 'select'), [picture, draw] = this.makePicture('230px', 150);
      node.onclick = () => this.$emit('pick', number);
      node.insertCell().append(box); node.insertCell().append(picture);
      const cells = this.columns.map(([, name]) => Object.assign(node.insertCell(), { className: name }));
      node.fill = (row, chosen) => {
        draw(row); box.checked = chosen; node.classList.toggle('on', chosen);
        cells.forEach((cell, i) => put(cell, row.texts[i]));
      };
      return node;
    },
    makeCard(number) {
      const node = make('div', 'cell'), box = this.makeBox(() => [number], 'select'), [picture, draw] = this.makePicture('100%', 190);
      const lines = [make('div', 'text-xs font-bold'), make('div', 'text-xs')];
      node.append(box, picture, ...lines); node.onclick = () => this.$emit('pick', number);
      node.fill = (row, chosen) => {
        draw(row); box.checked = chosen; node.classList.toggle('on', chosen); lines.forEach((line, i) => put(line, row.lines[i]));
      };
      return node;
    },
  },
};
