/** The way in, for a broker that wants to know who comes. */

import { useSignal } from "@preact/signals";
import { enter } from "./session.js";

export function TokenForm({ why }: { why: string }) {
  const token = useSignal("");
  return (
    <main class="page entrance">
      <form
        class="sheet"
        onSubmit={(event) => {
          event.preventDefault();
          if (token.value.trim()) void enter(token.value.trim());
        }}
      >
        <h1>This broker asks for a token</h1>
        <p class="muted">Whoever runs it gives you one. It stays in this tab, and is forgotten with it.</p>
        <label class="field">
          <span>Token</span>
          <input
            type="password"
            name="token"
            autocomplete="off"
            spellcheck={false}
            autofocus
            value={token.value}
            onInput={({ currentTarget }) => (token.value = currentTarget.value)}
          />
        </label>
        {why && (
          <p class="failure" role="alert">
            {why}
          </p>
        )}
        <p class="buttons">
          <button type="submit" class="main" disabled={!token.value.trim()}>
            Enter
          </button>
        </p>
      </form>
    </main>
  );
}
