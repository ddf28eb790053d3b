/** Quantities as people read them. Pure. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const SPANS: readonly [unit: string, ms: number][] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1_000],
];
const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 });

/** 12,345,678 */
export function showCount(count: number): string {
  return grouped.format(count);
}

/** 12.3M: for where there is little room. */
export function showShort(count: number): string {
  return short.format(count);
}

/** 1.5 KiB */
export function showBytes(bytes: number): string {
  let unit = 0;
  for (; bytes >= 1_000 && unit < UNITS.length - 1; unit++) bytes /= 1_024;
  return `${unit === 0 || bytes >= 100 ? grouped.format(bytes) : bytes.toFixed(1)} ${UNITS[unit]}`;
}

/** Of records a second: 0, 0.3, 12.0, 1.2K */
export function showRate(perSecond: number): string {
  if (perSecond === 0) return "0";
  if (perSecond < 0.1) return "<0.1";
  return perSecond < 100 ? perSecond.toFixed(1) : short.format(perSecond);
}

/** 340 ms, 4.2 s, 12 min, 3 h, 5 d: one unit, the largest that fits. */
export function showDuration(ms: number): string {
  if (ms < 1_000) return `${ms < 10 && ms % 1 ? ms.toFixed(1) : Math.round(ms)} ms`;
  const [unit, size] = SPANS.find(([, size]) => ms >= size)!;
  return unit === "s" && ms < 10_000 ? `${(ms / size).toFixed(1)} s` : `${Math.floor(ms / size)} ${unit}`;
}

/** How long ago; what is less than a second ago, or ahead of this clock, is now. 0: never. */
export function showAgo(thenMs: number, nowMs: number): string {
  if (!thenMs) return "never";
  const ms = nowMs - thenMs;
  return ms < 1_000 ? "now" : `${showDuration(Math.floor(ms / 1_000) * 1_000).replace(".0", "")} ago`;
}

/** 14:03:07.123, as the clock here shows it. */
export function showClock(timeMs: number): string {
  const time = new Date(timeMs);
  const two = (part: number) => String(part).padStart(2, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}
