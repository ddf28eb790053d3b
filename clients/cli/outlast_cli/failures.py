"""What goes wrong, as one line for people and an exit code for programs."""

from __future__ import annotations

import outlast

from .exits import Exit, Failure

# What a person at a shell can do, where that differs from what a program would.
_ADVICE: dict[type[outlast.OutlastError], str] = {
    outlast.ConnectFailed: "start one with `outlast serve`, or name another with --url or OUTLAST_URL",
    outlast.Unauthorized: "give a token with --token-file, OUTLAST_TOKEN_FILE or OUTLAST_TOKEN",
    outlast.TokenExpired: "give a newer token with --token-file, OUTLAST_TOKEN_FILE or OUTLAST_TOKEN",
    outlast.UnknownChannel: "`outlast channels ls` shows those that exist",
    outlast.UnknownCursor: "`outlast cursors ls` shows those that exist",
    outlast.LeaseHeld: "`outlast leases` shows who has it and for how long",
    outlast.NotAnswered: "it stays open: wait on with `outlast ask outcome`, or withdraw it by `outlast answer`",
    outlast.VersionMismatch: "read the value that it has now, then decide again",
    outlast.NotANumber: "set the key to a whole number within 2^53 first, with --json",
    outlast.OffsetMismatch: "read up to the channel's last offset, then decide again",
    outlast.OffsetAhead: "`outlast channels info` shows the last offset",
    outlast.Trimmed: "start with --from earliest",
    outlast.StaleEpoch: "the channel was deleted and made anew: start with --from earliest",
    outlast.Resync: "what was shown before may be out of date",
}


def failure_from(error: outlast.OutlastError) -> Failure:
    unreachable = isinstance(error, outlast.ConnectFailed | outlast.ConnectionLost)
    return Failure(explain(error), Exit.UNREACHABLE if unreachable else Exit.REFUSED)


def explain(error: outlast.OutlastError) -> str:
    """What happened, and what to do about it."""
    advice = next((text for kind, text in _ADVICE.items() if isinstance(error, kind)), error.advice)
    if isinstance(error, outlast.ConnectFailed) and error.advice != outlast.ConnectFailed.advice:
        advice = error.advice
    return f"{error.code}: {error.message}: {advice}"
