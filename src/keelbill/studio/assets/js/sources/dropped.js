// Takes files that are dropped or pasted anywhere on the page. Knows not what becomes of them.
import { html, signal, useEffect } from "../lib.js";
import { Icon } from "../ui/icon.js";

const isOver = signal(false);

/**
 * Take dropped and pasted files while a component is shown.
 * @param {(file: File) => void} take
 * @param {string} text What dropping does, shown while a file is above the page.
 * @param {(text: string) => boolean} [takeText] Looks at pasted text that is meant for no field; true if it was used.
 * @returns What to show meanwhile.
 */
export function useDropped(take, text, takeText) {
  useEffect(() => {
    let depth = 0;
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    const enter = (event) => {
      if (!hasFiles(event)) return;
      depth += 1;
      isOver.value = true;
    };
    const leave = (event) => {
      if (!hasFiles(event)) return;
      depth -= 1;
      isOver.value = depth > 0;
    };
    const over = (event) => hasFiles(event) && event.preventDefault();
    const drop = (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth = 0;
      isOver.value = false;
      if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
    };
    const paste = (event) => {
      if (event.defaultPrevented) return;
      const file = [...(event.clipboardData?.files || [])].find((one) => one.type.startsWith("image/"));
      const isMeant = event.target instanceof Element && event.target.matches("input, textarea, [contenteditable]");
      if (file) take(file);
      else if (isMeant || !takeText?.(event.clipboardData?.getData("text/plain") || "")) return;
      event.preventDefault();
    };
    const all = { dragenter: enter, dragleave: leave, dragover: over, drop, paste };
    for (const [name, listen] of Object.entries(all)) window.addEventListener(name, listen);
    return () => {
      for (const [name, listen] of Object.entries(all)) window.removeEventListener(name, listen);
    };
  }, []);
  return isOver.value && html`<div class="drop-hint"><${Icon} name="file-up" size=${40} /><p>${text}</p></div>`;
}
