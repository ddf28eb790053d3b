/** Keys that work wherever somebody is on the page, unless they are writing. */

import { useEffect, useRef } from "preact/hooks";

/** Returns whether the key meant something. */
type Handler = (key: string, event: KeyboardEvent) => boolean;

// The newest part of the page is asked first.
const handlers: { current: Handler }[] = [];

export const KEYS: readonly [keys: string, does: string][] = [
  ["/", "search, or filter"],
  ["j k, arrows", "next, previous"],
  ["g G, Home End", "first, last"],
  ["Enter", "open"],
  ["Esc", "back"],
  ["1 2 3", "overview, channels, connections"],
  ["p", "publish"],
  ["t", "dark, light, as the system has it"],
  ["?", "this help"],
];

/** As long as the component is there. */
export function useKeys(handler: Handler): void {
  const held = useRef(handler);
  held.current = handler;
  useEffect(() => {
    handlers.unshift(held);
    return () => void handlers.splice(handlers.indexOf(held), 1);
  }, []);
}

export function watchKeys(): void {
  addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (target instanceof HTMLElement && target.closest("input, textarea, select")) {
      if (key === "Escape") target.blur();
      return;
    }
    const isPressed =
      target instanceof HTMLElement && target.closest("button, a, summary") && (key === "Enter" || key === " ");
    if (!isPressed && handlers.some(({ current }) => current(key, event))) event.preventDefault();
  });
}
