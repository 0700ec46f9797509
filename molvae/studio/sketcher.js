// JSME (Ertl & Bienfait 2013) in the page; its files are served by the studio itself.
const TOOLBAR = 360; // pixels that the buttons take
let ready;
const load = () => ready ??= new Promise((done, fail) => {
  window.jsmeOnLoad = done;
  const script = document.createElement('script');
  script.src = '/jsme/jsme.nocache.js'; script.onerror = () => fail(new Error('the sketcher is not there'));
  document.head.append(script);
});
export default {
  template: '<div class="sketcher" style="width:100%"><div ref="place" style="width:100%;height:340px"></div></div>',
  async mounted() {
    await load();
    this.$refs.place.id = `sketcher-${this.$.uid}`;
    const width = this.$refs.place.clientWidth;
    this.applet = new window.JSApplet.JSME(this.$refs.place.id, `${Math.max(TOOLBAR, width)}px`, '340px', { options: 'newlook,noquery,nostar' });
    if (width < TOOLBAR) { // on a phone the buttons shrink, which they cannot from the start
      this.applet.setMenuScale(width / TOOLBAR);
      this.applet.setSize(`${width}px`, '340px');
    }
    if (this.wanted) this.show(this.wanted);
    this.$el.sketcher = this;
  },
  methods: {
    show(smiles) { this.wanted = smiles; if (smiles) this.applet?.readGenericMolecularInput(smiles); else this.applet?.reset(); },
    smiles() { return this.applet?.smiles() ?? ''; },
  },
};
