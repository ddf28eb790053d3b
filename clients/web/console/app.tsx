/** The frame around every page of the console. */

import { useSignal } from "@preact/signals";
import { ChannelPage } from "./channel.js";
import { Channels } from "./channels.js";
import { Connections } from "./connections.js";
import { Dialog } from "./dialog.js";
import { KEYS, useKeys } from "./keyboard.js";
import { Overview } from "./overview.js";
import { go, route, routeText, VIEWS } from "./route.js";
import { askToken, hasToken, linkState, tokenAsked } from "./session.js";
import { Banner } from "./stale.js";
import { theme, turnTheme } from "./theme.js";
import { TokenForm } from "./token.js";

const TITLES = { overview: "Overview", channels: "Channels", connections: "Connections" };
const WORDS = { connecting: "Connecting", open: "Connected", waiting: "Reconnecting", closed: "Closed" };
const SIGNS = { auto: "◐", light: "○", dark: "●" };

export function App() {
  const isHelpShown = useSignal(false);
  useKeys((key) => {
    if (key === "?") isHelpShown.value = true;
    else if (key === "t") turnTheme();
    else if (VIEWS[Number(key) - 1]) go(routeText({ view: VIEWS[Number(key) - 1]! }));
    else return false;
    return true;
  });
  const { view, channel } = route.value;
  document.title = `${channel ?? TITLES[view]} · Outlast`;
  const isAsked = tokenAsked.value !== null;
  return (
    <>
      <header class="bar">
        <a class="mark" href="#/" aria-label="Outlast: overview">
          <Mark /> Outlast
        </a>
        <nav aria-label="Pages">
          {!isAsked &&
            VIEWS.map((each) => (
              <a key={each} href={routeText({ view: each })} aria-current={each === view ? "page" : undefined}>
                {TITLES[each]}
              </a>
            ))}
        </nav>
        <span class="signs">
          <span class={`link ${isAsked ? "waiting" : linkState.value}`} role="status">
            <i class="dot" /> <span>{isAsked ? "Token needed" : WORDS[linkState.value]}</span>
          </span>
          {hasToken.value && !isAsked && (
            <button type="button" class="quiet" onClick={askToken}>
              Leave
            </button>
          )}
          <button
            type="button"
            class="quiet sign"
            onClick={turnTheme}
            title={`Colours: ${theme.value} (t)`}
            aria-label={`Colours: ${theme.value}`}
          >
            {SIGNS[theme.value]}
          </button>
          <button
            type="button"
            class="quiet sign keys-sign"
            onClick={() => (isHelpShown.value = true)}
            title="Keys (?)"
            aria-label="Keys"
          >
            ?
          </button>
        </span>
      </header>
      {isAsked ? (
        <TokenForm why={tokenAsked.value!} />
      ) : (
        <>
          <Banner />
          {channel ? <ChannelPage key={channel} name={channel} /> : <Page />}
        </>
      )}
      {isHelpShown.value && (
        <Dialog title="Keys" onClose={() => (isHelpShown.value = false)}>
          <dl class="keys">
            {KEYS.map(([keys, does]) => (
              <div key={keys}>
                <dt>
                  {keys.split(" ").map((key) => (
                    <kbd key={key}>{key.replace(",", "")}</kbd>
                  ))}
                </dt>
                <dd>{does}</dd>
              </div>
            ))}
          </dl>
          <form method="dialog" class="buttons">
            <button>Close</button>
          </form>
        </Dialog>
      )}
    </>
  );
}

function Page() {
  const { view } = route.value;
  return view === "overview" ? <Overview /> : view === "channels" ? <Channels /> : <Connections />;
}

function Mark() {
  return (
    <svg viewBox="0 0 32 32" width="20" height="20" aria-hidden="true">
      <rect width="32" height="32" rx="7" fill="#0d6e6e" />
      <path d="M7 10h18M7 16h12M7 22h7" stroke="#fff" stroke-width="3" stroke-linecap="round" fill="none" />
      <circle cx="22.5" cy="22" r="3" fill="#ffd166" />
    </svg>
  );
}
