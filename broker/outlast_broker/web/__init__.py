"""The doors that browsers and plain HTTP come through: WebSocket, the HTTP API, server-sent events (docs/http.md).

Reading order: site, routes, visit, caller; then publishing, reading, events; websocket and websocket_door. console
has the page for people. Nothing of what a request means is decided here: it is asked for in frames, as
every client does.
"""
