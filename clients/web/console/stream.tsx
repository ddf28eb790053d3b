/** What is said in a channel: the newest at the end, growing while one looks. */

import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { Entry } from "./entry.js";
import type { Follower } from "./follow.js";
import { showCount } from "./format.js";
import { useKeys } from "./keyboard.js";
import type { Item } from "./log.js";

// So near to the end counts as there.
const NEAR_PX = 40;

export function Stream({ follower }: { follower: Follower }) {
  const list = useRef<HTMLOListElement>(null);
  const isAtEnd = useSignal(true);
  const filter = useSignal("");
  const search = useRef<HTMLInputElement>(null);
  const height = useRef(0);
  const drawn = useDrawn(follower);
  const items = filter.value ? follower.items.value.filter((item) => says(item, filter.value)) : follower.items.value;
  follower.isLooking = !isAtEnd.value;

  const toEnd = () => list.current?.scrollTo(0, list.current.scrollHeight);
  useLayoutEffect(() => {
    if (isAtEnd.value) toEnd();
  }, [items, isAtEnd.value]);
  useEffect(() => {
    const watch = new ResizeObserver(() => isAtEnd.value && toEnd());
    watch.observe(list.current!);
    return () => watch.disconnect();
  }, []);
  const look = () => {
    const { scrollTop, scrollHeight, clientHeight } = list.current!;
    isAtEnd.value = scrollHeight - clientHeight - scrollTop < NEAR_PX;
  };
  const showEarlier = async () => {
    const { current } = list;
    height.current = current!.scrollHeight - current!.scrollTop;
    isAtEnd.value = false;
    await follower.showEarlier();
    requestAnimationFrame(() => (current!.scrollTop = current!.scrollHeight - height.current));
  };
  useKeys((key, event) => moved(list.current!, key, event) || (key === "/" && (search.current!.focus(), true)));

  return (
    <div class="stream">
      <div class="strip">
        <input
          ref={search}
          type="search"
          class="search"
          placeholder="Filter what is shown"
          aria-label="Filter"
          value={filter.value}
          onInput={({ currentTarget }) => (filter.value = currentTarget.value)}
        />
        {filter.value && (
          <span class="muted">
            {showCount(items.length)} of {showCount(follower.items.value.length)}
          </span>
        )}
        {follower.note.value && follower.phase.value !== "absent" && (
          <span class="warned" role="status">
            {follower.note.value}
          </span>
        )}
      </div>
      <ol ref={list} class="items" onScroll={look} tabIndex={-1} aria-label="Records and messages">
        {follower.hasEarlier.value && !filter.value && (
          <li class="more">
            <button type="button" class="quiet" onClick={showEarlier}>
              Show earlier records
            </button>
          </li>
        )}
        {items.map(drawn)}
        {!items.length && <li class="empty">{said(follower, filter.value)}</li>}
      </ol>
      {!isAtEnd.value && (
        <button type="button" class="to-end" onClick={toEnd}>
          ↓ Newest
        </button>
      )}
    </div>
  );
}

function said(follower: Follower, filter: string): string {
  if (filter) return "Nothing here says that.";
  const phase = follower.phase.value;
  if (phase === "opening") return "Opening …";
  return phase === "absent"
    ? "There is no such channel. Publishing makes it."
    : phase === "live"
      ? "Nothing has been said yet."
      : "";
}

/** What has not changed is not drawn again: the same node means the same. */
function useDrawn(follower: Follower): (item: Item) => VNode {
  const nodes = useRef(new WeakMap<Item, VNode>()).current;
  return (item) => {
    let node = nodes.get(item);
    if (!node) nodes.set(item, (node = <Entry key={item.key} item={item} channel={follower.channel} />));
    return node;
  };
}

function says(item: Item, wanted: string): boolean {
  return JSON.stringify(item).toLowerCase().includes(JSON.stringify(wanted.toLowerCase()).slice(1, -1));
}

/** Moves the focus from item to item; Enter opens the one that has it. */
function moved(list: HTMLElement, key: string, { target }: KeyboardEvent): boolean {
  const items = [...list.querySelectorAll<HTMLElement>(":scope > [tabindex]")];
  const at = items.indexOf((target as HTMLElement).closest<HTMLElement>("li")!);
  const to = {
    j: at + 1,
    ArrowDown: at + 1,
    k: at < 0 ? items.length - 1 : at - 1,
    ArrowUp: at < 0 ? items.length - 1 : at - 1,
    g: 0,
    Home: 0,
    G: items.length - 1,
    End: items.length - 1,
  }[key];
  if (key === "Enter" && at >= 0) items[at]!.querySelector<HTMLElement>("[aria-expanded]")?.click();
  else if (to === undefined || !items[to]) return false;
  else items[to].focus();
  return true;
}
