/** The proof: what everybody saw, this tab too, side by side. */

import type { Verdict } from "./stage.ts";

const DIGEST_SHOWN = 12;
const count = new Intl.NumberFormat("en-US");

export function VerdictCard({ verdict: { holds, checks, rows }, tab }: { verdict: Verdict; tab: string }) {
  return (
    <section class={`card verdict ${holds ? "good" : "bad"}`} aria-label="The proof">
      <h2>{holds ? "Proved" : "Failed"}</h2>
      <table>
        <thead>
          <tr>
            <th />
            <th>records</th>
            <th>gaps</th>
            <th>repeats</th>
            <th>sha256</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ name, records, gaps, repeats, sha256 }) => (
            <tr key={name} data-mine={name === tab}>
              <th>{name === tab ? "this tab" : name}</th>
              <td>{count.format(records)}</td>
              <td>{count.format(gaps)}</td>
              <td>{count.format(repeats)}</td>
              <td>
                <code title={sha256}>{sha256.slice(0, DIGEST_SHOWN)}</code>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <ul>
        {checks.map(({ claim, holds }) => (
          <li key={claim} data-holds={holds}>
            {claim}
          </li>
        ))}
      </ul>
    </section>
  );
}
