/** A table of any length, of which only what is to be seen is on the page. */

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { useKeys } from "./keyboard.js";
import { type Cell, type Order, sorted, turned } from "./sorting.js";
import { rowAfterKey, rowsMax, scrollToRow, visibleRows } from "./window.js";

const ROW_HEIGHT = 34;

export interface Column<Row> {
  readonly id: string;
  readonly title: string;
  /** What the title means, where that is not plain. */
  readonly hint?: string;
  readonly isNumber?: boolean;
  readonly cell: (row: Row) => Cell;
  readonly show?: (row: Row) => ComponentChildren;
}

interface Given<Row> {
  readonly name: string;
  readonly label: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string;
  readonly order: Order;
  /** Is told which rows are on the page. */
  readonly inSight?: { current: readonly Row[] };
  readonly onOrder: (order: Order) => void;
  readonly onOpen?: (row: Row) => void;
  readonly children: ComponentChildren;
}

/** `children` are shown where there is no row. */
export function Table<Row>(given: Given<Row>) {
  const { name, label, columns, rows, keyOf, order, inSight, onOrder, onOpen, children } = given;
  const body = useRef<HTMLDivElement>(null);
  const chosen = useSignal("");
  const [scrollTop, height] = useSight(body);
  const column = columns.find(({ id }) => id === order.column) ?? columns[0]!;
  const all = useMemo(() => sorted(rows, column.cell, order.down), [rows, column.id, order.down]);
  const at = useMemo(() => all.findIndex((row) => keyOf(row) === chosen.value), [all, chosen.value]);
  const [first, end] = visibleRows(scrollTop.value, height.value, ROW_HEIGHT, all.length);
  const shown = all.slice(first, end);
  // A row that leaves at one edge comes in again at the other: nothing is made while somebody scrolls.
  const places = rowsMax(height.value, ROW_HEIGHT);
  if (inSight) inSight.current = shown;

  useKeys((key) => {
    if (key === "Enter" && at >= 0 && onOpen) {
      onOpen(all[at]!);
      return true;
    }
    const next = rowAfterKey(key, at, all.length, Math.floor(height.value / ROW_HEIGHT));
    if (next === null) return false;
    chosen.value = keyOf(all[next]!);
    const { current } = body;
    current!.scrollTop = scrollToRow(next, current!.scrollTop, current!.clientHeight, ROW_HEIGHT);
    return true;
  });

  return (
    <div
      class={`table ${name}`}
      role="grid"
      aria-label={label}
      aria-rowcount={all.length + 1}
      tabIndex={0}
      aria-activedescendant={at >= first && at < end ? `${name}-${at}` : undefined}
    >
      <div class="row head" role="row" aria-rowindex={1}>
        {columns.map(({ id, title, hint, isNumber }) => (
          <div
            key={id}
            role="columnheader"
            class={`${id}${isNumber ? " number" : ""}`}
            title={hint}
            aria-sort={id === column.id ? (order.down ? "descending" : "ascending") : "none"}
          >
            <button type="button" onClick={() => onOrder(turned(order, id, isNumber ?? false))}>
              {title}
            </button>
          </div>
        ))}
      </div>
      <div class="body" ref={body}>
        {all.length ? (
          <div class="whole" style={{ height: `${all.length * ROW_HEIGHT}px` }}>
            {shown.map((row, index) => (
              <div
                key={(first + index) % places}
                id={`${name}-${first + index}`}
                role="row"
                aria-rowindex={first + index + 2}
                aria-selected={first + index === at}
                class={`row${onOpen ? " opens" : ""}`}
                style={{ transform: `translateY(${(first + index) * ROW_HEIGHT}px)` }}
                onClick={(event) => {
                  chosen.value = keyOf(row);
                  if (!(event.target as Element).closest("a")) onOpen?.(row);
                }}
              >
                {columns.map(({ id, isNumber, cell, show }) => (
                  <div key={id} role="gridcell" class={`${id}${isNumber ? " number" : ""}`}>
                    {show ? show(row) : cell(row)}
                  </div>
                ))}
              </div>
            ))}
          </div>
        ) : (
          <div class="empty">{children}</div>
        )}
      </div>
    </div>
  );
}

/** Where an element is scrolled to, and how high it is. */
function useSight(element: { readonly current: HTMLElement | null }) {
  const scrollTop = useSignal(0);
  const height = useSignal(0);
  useLayoutEffect(() => {
    height.value = element.current!.clientHeight;
  }, []);
  useEffect(() => {
    const { current } = element;
    const look = () => {
      scrollTop.value = current!.scrollTop;
      height.value = current!.clientHeight;
    };
    const watch = new ResizeObserver(look);
    watch.observe(current!);
    current!.addEventListener("scroll", look, { passive: true });
    return () => {
      watch.disconnect();
      current!.removeEventListener("scroll", look);
    };
  }, []);
  return [scrollTop, height] as const;
}
