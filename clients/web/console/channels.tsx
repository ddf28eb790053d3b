/** All channels, by prefix, in any order. */

import { useEffect, useRef } from "preact/hooks";
import { directory, type Row, watchDirectory, watchSight } from "./directory.js";
import { showBytes, showCount, showRate } from "./format.js";
import { useKeys } from "./keyboard.js";
import { channelLink, go, reshape, route } from "./route.js";
import { isOpen } from "./session.js";
import { orderText, readOrder } from "./sorting.js";
import { Ago, Failure } from "./stale.js";
import { type Column, Table } from "./table.js";

const COLUMNS: readonly Column<Row>[] = [
  {
    id: "name",
    title: "Channel",
    cell: ({ name }) => name,
    show: ({ name }) => (
      <a href={channelLink(name)} tabIndex={-1} title={name}>
        {name}
      </a>
    ),
  },
  {
    id: "rate",
    title: "Records/s",
    isNumber: true,
    cell: ({ rate }) => rate,
    show: ({ rate }) => (rate === null ? "" : <span class={rate ? "busy" : "faint"}>{showRate(rate)}</span>),
  },
  { id: "records", title: "Records", isNumber: true, cell: recordsOf, show: (row) => showCount(recordsOf(row)) },
  {
    id: "size",
    title: "Size",
    hint: "Bytes stored, about",
    isNumber: true,
    cell: ({ bytes }) => bytes,
    show: ({ bytes }) => showBytes(bytes),
  },
  {
    id: "readers",
    title: "Readers",
    isNumber: true,
    cell: ({ subscribers }) => subscribers,
    show: ({ subscribers }) => shownIf(subscribers),
  },
  {
    id: "members",
    title: "Present",
    hint: "Present or away",
    isNumber: true,
    cell: ({ members }) => members,
    show: ({ members }) => shownIf(members),
  },
  {
    id: "last",
    title: "Last record",
    isNumber: true,
    cell: ({ lastMs }) => lastMs,
    show: ({ lastMs }) => (lastMs ? <Ago atMs={lastMs} /> : <span class="faint">never</span>),
  },
];

function shownIf(count: number) {
  return count ? showCount(count) : <span class="faint">0</span>;
}

function recordsOf({ first, last }: Row): number {
  return last - first + 1;
}

function countText(count: number, more: boolean, isWhole: boolean): string {
  if (!isWhole) return count ? `${showCount(count)} …` : "";
  return more
    ? `the first ${showCount(count)}: a longer prefix shows others`
    : `${showCount(count)} ${count === 1 ? "channel" : "channels"}`;
}

export function Channels() {
  const { prefix, sort } = route.value;
  const search = useRef<HTMLInputElement>(null);
  const inSight = useRef<readonly Row[]>([]);
  useEffect(() => watchDirectory(prefix), [prefix]);
  useEffect(() => watchSight(() => inSight.current), []);
  useKeys((key) => {
    if (key === "/") search.current!.select();
    else if (key === "Escape" && prefix) reshape({ prefix: "" });
    else return false;
    search.current!.focus();
    return true;
  });
  const { rows, more, atMs, error } = directory.value;
  const order = readOrder(
    sort,
    COLUMNS.map(({ id }) => id),
    { column: "name", down: false },
  );
  return (
    <main class="page fills">
      <div class="tools">
        <h1>Channels</h1>
        <input
          ref={search}
          class="search"
          type="search"
          placeholder="Names that begin with …"
          aria-label="Search by prefix"
          spellcheck={false}
          value={prefix}
          onInput={({ currentTarget }) => reshape({ prefix: currentTarget.value })}
        />
        <span class="muted count" role="status">
          {countText(rows.length, more, atMs > 0)}
        </span>
      </div>
      <Failure error={error} />
      <Table
        name="channels"
        label="Channels"
        columns={COLUMNS}
        rows={rows}
        keyOf={({ name }) => name}
        order={order}
        inSight={inSight}
        onOrder={(order) => reshape({ sort: orderText(order) })}
        onOpen={({ name }) => go(channelLink(name))}
      >
        {!atMs ? (
          isOpen.value ? (
            "Looking …"
          ) : (
            ""
          )
        ) : prefix ? (
          <>
            No channel begins with <code>{prefix}</code>.
          </>
        ) : (
          <>
            <strong>No channels yet.</strong> Publishing makes one: <code>outlast pub session:42 Hello</code>
          </>
        )}
      </Table>
    </main>
  );
}
