/** Where somebody is in the console, as the address says it behind its "#". `readRoute` and `routeText` are pure. */

import { signal } from "@preact/signals";

export const VIEWS = ["overview", "channels", "connections"] as const;
export type View = (typeof VIEWS)[number];

export interface Route {
  readonly view: View;
  /** The channel that is open. */
  readonly channel: string | null;
  readonly prefix: string;
  readonly sort: string | null;
}

export const HOME: Route = { view: "overview", channel: null, prefix: "", sort: null };

/** Whatever makes no sense leads home. */
export function readRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split("?", 2);
  const [first, ...rest] = path.split("/");
  const view = VIEWS.find((view) => view === first);
  if (!view) return HOME;
  const asked = new URLSearchParams(query);
  const channel = view === "channels" && rest.length ? decoded(rest.join("/")) : null;
  return { view, channel: channel || null, prefix: asked.get("prefix") ?? "", sort: asked.get("sort") };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function routeText({ view, channel, prefix, sort }: Partial<Route> & { view: View }): string {
  if (view === "overview") return "#/";
  if (channel) return `#/channels/${encodeURIComponent(channel)}`;
  const asked = new URLSearchParams();
  if (prefix) asked.set("prefix", prefix);
  if (sort) asked.set("sort", sort);
  return `#/${view}${asked.size ? `?${asked}` : ""}`;
}

export const channelLink = (channel: string): string => routeText({ view: "channels", channel });

// --- of this page ------------------------------------------------------------------------------------------------

export const route = signal<Route>(HOME);
// Where the list of channels was left, to come back to.
let list: Route = { ...HOME, view: "channels" };

function read(): void {
  route.value = readRoute(location.hash);
  if (route.value.view === "channels" && !route.value.channel) list = route.value;
}

export function watchRoute(): void {
  addEventListener("hashchange", read);
  read();
}

export function go(hash: string): void {
  location.hash = hash;
}

/** To the list as it was left. */
export function goBack(): void {
  go(routeText(list));
}

/** The same place in another shape; "back" does not lead to the one it had. */
export function reshape(change: Partial<Route>): void {
  history.replaceState(null, "", routeText({ ...route.value, ...change }));
  read();
}
