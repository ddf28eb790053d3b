/** The chat: what was asked, and the agent's answer as it grows. */

import { Component } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Section } from "./chat.ts";
import type { Reader } from "./reader.ts";

// What a page can hold without labouring; the channel has all of it.
const SHOWN = 80;
const NEAR_PX = 80;

export function ChatColumn({ reader }: { reader: Reader }) {
  const { sections } = reader.chat;
  const frame = reader.frame.value;
  const column = useRef<HTMLElement>(null);
  const [follows, setFollows] = useState(true);
  useLayoutEffect(() => {
    if (follows) column.current!.scrollTop = column.current!.scrollHeight;
  }, [frame, follows]);
  const lastTop = useRef(0);
  const look = () => {
    const { scrollTop, scrollHeight, clientHeight } = column.current!;
    const isNear = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    // Whoever scrolls up wants to read; what grows below has moved nobody.
    if (isNear || scrollTop < lastTop.current) setFollows(isNear);
    lastTop.current = scrollTop;
  };
  const hidden = Math.max(sections.length - SHOWN, 0);
  return (
    <section class="chat" ref={column} onScroll={look} aria-label="The report">
      {reader.run.value && <p class="asked">{reader.run.value.task}</p>}
      {hidden > 0 && <p class="earlier">{hidden} earlier messages are in the channel</p>}
      {sections.slice(hidden).map((section) => (
        <Bubble key={section.id} section={section} revision={section.revision} />
      ))}
      {reader.chat.hasEnded && reader.run.value && <p class="outcome">The run is {reader.run.value.state}.</p>}
      {!follows && (
        <button class="latest" onClick={() => setFollows(true)}>
          ↓ Latest
        </button>
      )}
    </section>
  );
}

/** Drawn again only when it has changed. */
class Bubble extends Component<{ section: Section; revision: number }> {
  override shouldComponentUpdate(next: { revision: number }) {
    return next.revision !== this.props.revision;
  }

  override render() {
    const { title, text, state, calls } = this.props.section;
    return (
      <article data-state={state}>
        <h2>
          {title}
          {state !== "open" && state !== "complete" && <em>{state}</em>}
        </h2>
        {calls.length > 0 && (
          <ul>
            {calls.map(({ tool, result }) => (
              <li key={tool} data-done={result !== null} title={result ?? "at work"}>
                {tool.replaceAll("_", " ")}
              </li>
            ))}
          </ul>
        )}
        <p>{text}</p>
      </article>
    );
  }
}
