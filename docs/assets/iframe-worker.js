// Search from the disk: a page that was opened as a file may not start a worker, so its script runs in a hidden frame.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    /** @param {string} url the worker's script */
    constructor(url) {
      super()
      this.onmessage = null
      const frame = document.createElement("iframe")
      frame.hidden = true
      this.ready = new Promise((resolve) => { frame.onload = () => resolve(frame.contentWindow) })
      frame.srcdoc = `<script>window.postMessageHere = window.postMessage.bind(window);
        window.postMessage = (data) => parent.postMessage(data, "*")</` + `script><script src="${url}"></` + `script>`
      document.body.appendChild(frame)
      addEventListener("message", (event) => {
        if (event.source !== frame.contentWindow) return
        const message = new MessageEvent("message", { data: event.data })
        this.dispatchEvent(message)
        if (this.onmessage) this.onmessage(message)
      })
    }

    /** @param {unknown} data handed to the script */
    async postMessage(data) { (await this.ready).postMessageHere(data, "*") }

    terminate() {}
  }
  window.Worker = window.IFrameWorker
}
