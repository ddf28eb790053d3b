/** The console: what a broker holds and does, seen with the client that everybody has. */

import { render } from "preact";
import { App } from "./app.js";
import { watchKeys } from "./keyboard.js";
import { watchPulse } from "./pulse.js";
import { watchRoute } from "./route.js";
import { begin } from "./session.js";
import { watchTheme } from "./theme.js";

watchTheme();
watchRoute();
watchKeys();
watchPulse();
render(<App />, document.getElementById("app")!);
void begin();
