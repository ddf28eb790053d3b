/** Dark, light, or as the system has it; remembered for this browser. */

import { effect, signal } from "@preact/signals";

const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];
const KEY = "outlast.theme";

export const theme = signal<Theme>(THEMES.find((each) => each === localStorage.getItem(KEY)) ?? "auto");

export function turnTheme(): void {
  theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length]!;
}

export function watchTheme(): void {
  effect(() => {
    document.documentElement.dataset["theme"] = theme.value;
    localStorage.setItem(KEY, theme.value);
  });
}
