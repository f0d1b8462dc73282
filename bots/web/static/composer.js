// The box at the bottom: what is being written, and the keys that send and stop.

const form = document.getElementById("composer");
const box = document.getElementById("message");
const sendButton = document.getElementById("send");
const stopButton = document.getElementById("stop");
const DRAFT = "pajama-draft";

export const composer = {
  /** Call `onSend(text)` for what is sent and `onStop()` when the answer is to stop. */
  connect(onSend, onStop) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (box.value.trim() && !sendButton.disabled) onSend(box.value);
    });
    stopButton.addEventListener("click", onStop);
    box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    box.addEventListener("input", () => sessionStorage.setItem(DRAFT, box.value));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !stopButton.hidden && !document.querySelector("dialog[open]")) onStop();
    });
    box.value ||= sessionStorage.getItem(DRAFT) ?? "";
  },

  /** Empty the box: its text has been taken. */
  clear() {
    this.put("");
  },

  put(text) {
    box.value = text;
    sessionStorage.setItem(DRAFT, text);
  },

  /** Whether something is on its way to the server, so that Enter does not send it twice. */
  set sending(value) {
    sendButton.disabled = value;
  },

  /** Whether an answer is being written, so that there is something to stop. */
  set answering(value) {
    if (!value && document.activeElement === stopButton) box.focus();
    stopButton.hidden = !value;
  },

  focus() {
    box.focus();
  },
};
