/* A browser starts no worker for a page that was opened as a file. Then search runs in a frame instead. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.title = "search"
      document.body.appendChild(frame)
      const worker = frame.contentWindow
      worker.document.open()
      worker.document.write("<!doctype html><title>search</title>")
      worker.document.close()
      worker.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      const load = source => new Promise((done, failed) => {
        const script = worker.document.createElement("script")
        script.onload = done
        script.onerror = failed
        script.src = source
        worker.document.head.appendChild(script)
      })
      worker.importScripts = (...sources) =>
        sources.reduce((before, each) => before.then(() => load(new URL(each, url).href)), Promise.resolve())
      this.worker = worker
      this.ready = load(url)
    }
    postMessage(data) {
      this.ready.then(() => this.worker.dispatchEvent(new this.worker.MessageEvent("message", { data })))
    }
    terminate() {
      this.worker.frameElement.remove()
    }
  }
}
