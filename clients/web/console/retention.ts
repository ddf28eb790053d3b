/** The bounds of what a channel keeps, as a form has them. Pure. */

import type { Retention } from "outlast";

interface Bound {
  readonly key: keyof Retention;
  readonly label: string;
  /** One of what people write is so many of what the broker is told. */
  readonly unit: number;
  readonly hint: string;
}

export const BOUNDS: readonly Bound[] = [
  { key: "ageMs", label: "Age, in hours", unit: 3_600_000, hint: "24" },
  { key: "records", label: "Records", unit: 1, hint: "10000" },
  { key: "bytes", label: "Size, in MiB", unit: 1_048_576, hint: "100" },
  { key: "idleTtlMs", label: "Delete when unused for, in hours", unit: 3_600_000, hint: "720" },
];

/** null: nothing was written. Throws RangeError. */
export function readBound(text: string, unit: number): number | null {
  if (!text.trim()) return null;
  const value = Math.round(Number(text) * unit);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new RangeError(
    `"${text}" is no bound: write a number that is not negative, 0 for none, or nothing for the broker's rule`,
  );
}
