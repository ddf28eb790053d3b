"""What is to be seen at one moment, as data, and as lines for a terminal. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from outlast_broker.configuration.quantities import show_count

from ..terminal import visible

BAR_LETTERS = 24
_COLOURS = {"live": "green", "up": "green", "done": "green", "writing": "green"}


@dataclass(slots=True)
class BrokerView:
    state: str = "starting"
    pid: int = 0
    kills: int = 0


@dataclass(slots=True)
class AgentView:
    state: str = "starting"
    written: int = 0
    acknowledged: int = 0
    file: str = ""
    kills: int = 0


@dataclass(slots=True)
class ViewerView:
    state: str = "starting"
    offset: int = 0
    gaps: int = 0
    repeats: int = 0
    tail: str = ""


@dataclass(slots=True)
class PageView:
    """`state` is that of the line that all tabs share."""

    state: str = "up"


@dataclass(slots=True)
class Scene:
    seconds: float
    broker: BrokerView = field(default_factory=BrokerView)
    agent: AgentView = field(default_factory=AgentView)
    viewers: dict[str, ViewerView] = field(default_factory=dict)
    page: PageView = field(default_factory=PageView)


def panel(scene: Scene, elapsed_s: float, width: int) -> list[tuple[str, str | None]]:
    """(text, colour) of each line, none wider than `width`."""
    broker, agent = scene.broker, scene.agent
    done = min(max(elapsed_s / scene.seconds, 0), 1)
    bar = ("#" * round(done * BAR_LETTERS)).ljust(BAR_LETTERS, ".")
    waiting = agent.written - agent.acknowledged
    rows: list[tuple[str, str | None]] = [
        (f"[{bar}] {min(elapsed_s, scene.seconds):>3.0f} of {scene.seconds:.0f} s", None),
        _row("broker", broker.state, f"process {broker.pid}, killed {show_count(broker.kills, 'time')} so far"),
        _row("agent", agent.state, f"{agent.acknowledged:>7,} on disk {waiting:>5,} waiting   {agent.file}"),
    ]
    rows += [_viewer_row(name, view, agent.acknowledged) for name, view in scene.viewers.items()]
    tail = next((view.tail for view in scene.viewers.values()), "")
    text = visible(" ".join(tail.split()))
    rows.append((f"  reads: ...{text[-max(width - 14, 0) :]}", "white"))
    return [(line[: max(width - 1, 0)], colour) for line, colour in rows]


def _row(name: str, state: str, text: str) -> tuple[str, str | None]:
    return f"  {name:<9} {state:<9} {text}", _COLOURS.get(state, "yellow")


def _viewer_row(name: str, view: ViewerView, acknowledged: int) -> tuple[str, str | None]:
    behind = max(acknowledged - view.offset, 0)
    return _row(
        name, view.state, f"{view.offset:>7,} seen {behind:>8,} behind    {view.gaps} gaps, {view.repeats} repeats"
    )


def plain_line(scene: Scene) -> str:
    """The same in one line, for a log."""
    seen = ", ".join(f"{name} {view.state} at {view.offset:,}" for name, view in scene.viewers.items())
    agent = scene.agent
    return f"broker {scene.broker.state}, agent wrote {agent.written:,} ({agent.acknowledged:,} on disk), {seen}"
