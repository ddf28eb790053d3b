/** A small live plot: what something was lately, and what it is. */

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { plotPoints, plotTop } from "./rates.js";

interface Given {
  readonly title: string;
  readonly hint?: string;
  readonly values: readonly number[];
  /** So many values fit into it. */
  readonly size: number;
  readonly isBytes?: boolean | undefined;
  /** How far apart they are. */
  readonly everyMs: number;
  readonly show: (value: number) => string;
  readonly children?: ComponentChildren;
}

/** With the pointer over it, it tells what was then. `children` say more below. */
export function Plot({ title, hint, values, size, isBytes, everyMs, show, children }: Given) {
  const over = useSignal<number | null>(null);
  const top = plotTop(values, isBytes);
  const points = plotPoints(values, size, top);
  const at = over.value === null ? -1 : points.findIndex(([x]) => x >= over.value! - 0.5 / size);
  const value = at >= 0 ? values[at] : values.at(-1);
  const line = points.map(([x, y]) => `${(x * 100).toFixed(2)},${(y * 40).toFixed(2)}`).join(" ");
  return (
    <figure
      class="plot"
      onPointerLeave={() => (over.value = null)}
      onPointerMove={(event) => {
        const { left, width } = event.currentTarget.querySelector("svg")!.getBoundingClientRect();
        over.value = (event.clientX - left) / width;
      }}
    >
      <figcaption title={hint}>
        {title}
        <span class="then">
          {at >= 0 && at < values.length - 1 ? `${Math.round(((values.length - 1 - at) * everyMs) / 1_000)} s ago` : ""}
        </span>
      </figcaption>
      <strong>{value === undefined ? "–" : show(value)}</strong>
      <div class="sight">
        <svg
          viewBox="0 0 100 40"
          preserveAspectRatio="none"
          role="img"
          aria-label={`${title}, the last ${Math.round((size * everyMs) / 60_000)} minutes`}
        >
          {points.length > 1 && <polygon points={`${points[0]![0] * 100},40 ${line} 100,40`} />}
          {points.length > 1 && <polyline points={line} />}
          {at >= 0 && <line x1={points[at]![0] * 100} x2={points[at]![0] * 100} y1="0" y2="40" />}
        </svg>
        <span class="top">{values.some(Boolean) ? show(top) : ""}</span>
      </div>
      {children && <div class="below">{children}</div>}
    </figure>
  );
}
