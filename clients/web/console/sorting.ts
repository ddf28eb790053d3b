/** Tables in the order that somebody asked for. Pure. */

/** By which column, and whether from the highest down. */
export interface Order {
  readonly column: string;
  readonly down: boolean;
}

/** What a column holds of a row; null comes last, whatever the direction. */
export type Cell = string | number | null;

/** A new list; rows that are equal stay in the order they were in. */
export function sorted<Row>(rows: readonly Row[], cell: (row: Row) => Cell, down: boolean): Row[] {
  const pairs = rows.map((row) => [cell(row), row] as const);
  return pairs.sort(([a], [b]) => compared(a, b, down)).map(([, row]) => row);
}

function compared(a: Cell, b: Cell, down: boolean): number {
  if (a === b) return 0;
  if (a === null) return 1;
  if (b === null) return -1;
  return a < b === down ? 1 : -1;
}

/** What a click on a column's head makes of the order: the other direction, or that column's own first. */
export function turned({ column, down }: Order, clicked: string, downFirst: boolean): Order {
  return { column: clicked, down: column === clicked ? !down : downFirst };
}

/** As addresses have it: name, or -rate for the highest first. */
export function readOrder(text: string | null, columns: readonly string[], fallback: Order): Order {
  const column = (text ?? "").replace(/^-/, "");
  return columns.includes(column) ? { column, down: text!.startsWith("-") } : fallback;
}

export function orderText({ column, down }: Order): string {
  return down ? `-${column}` : column;
}
