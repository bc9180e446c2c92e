// Browsers start no worker for a page from the disk, and the site's search is one: a hidden frame takes its place.
// In place of the script that the theme's offline plugin would fetch over the network.
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = Object.assign(document.createElement("iframe"), { hidden: true, srcdoc: "<!doctype html>" });
      this.started = new Promise((resolve) => {
        this.frame.onload = () => {
          const { contentWindow: inside, contentDocument: page } = this.frame;
          const load = (src) =>
            new Promise((done) => page.body.append(Object.assign(page.createElement("script"), { src, onload: done })));
          inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
          inside.importScripts = (...urls) => Promise.all(urls.map(load));
          load(url).then(resolve);
        };
      });
      document.body.append(this.frame);
    }

    postMessage(data) {
      this.started.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.frame.remove();
    }
  };
