/** Which rows of a long list there have to be on the page, all rows being equally high. Pure. */

// Rows beyond the edges, so that a quick turn of the wheel shows no hole.
const BEYOND = 8;

/** The first row to draw, and the one behind the last. */
export function visibleRows(scrollTop: number, height: number, rowHeight: number, count: number): [number, number] {
  const first = Math.floor(scrollTop / rowHeight) - BEYOND;
  const end = Math.ceil((scrollTop + height) / rowHeight) + BEYOND;
  return [Math.min(Math.max(first, 0), count), Math.min(Math.max(end, 0), count)];
}

/** How many rows there are at most on the page. */
export function rowsMax(height: number, rowHeight: number): number {
  return Math.ceil(height / rowHeight) + 1 + 2 * BEYOND;
}

/** Where to scroll to so that the row is to be seen as a whole; nowhere if it is already. */
export function scrollToRow(row: number, scrollTop: number, height: number, rowHeight: number): number {
  const top = row * rowHeight;
  if (top < scrollTop) return top;
  return Math.max(scrollTop, top + rowHeight - height);
}

/** The row that a key leads to from `row` (-1: none yet); null: the key means nothing here. */
export function rowAfterKey(key: string, row: number, count: number, page: number): number | null {
  const wanted = {
    ArrowDown: row + 1,
    j: row + 1,
    ArrowUp: row - 1,
    k: row - 1,
    PageDown: row + page,
    PageUp: row - page,
    Home: 0,
    g: 0,
    End: count - 1,
    G: count - 1,
  }[key];
  return wanted === undefined || !count ? null : Math.min(Math.max(wanted, 0), count - 1);
}
