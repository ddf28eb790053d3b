"""`python -m bench`: runs scenarios against systems, interleaved, and says what came out."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import uvloop

from . import machine, table
from .plan import Plan
from .run import Run
from .scenarios import SCENARIOS
from .systems.registry import SYSTEMS
from .systems.system import System

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    plan = make_plan(options)
    machine.raise_file_limit()
    machine.pin(plan.load_cores)
    # A bench that is told to stop cleans up like one that is interrupted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    systems = installed(options.system)
    lock = machine.only_bench()
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=plan.data_dir) as folder:
        results = run_all(plan, Path(folder), options.scenario, options.case, systems, options.runs)
        document = {
            "when": datetime.now(UTC).isoformat(),
            "machine": machine.facts(Path(folder)),
            "runs": results,
        }
    lock.close()
    save(options.out, document)
    print()
    print(table.render(results))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--scenario", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--system", nargs="+", choices=["all", *SYSTEMS], default=["outlast"])
    parser.add_argument("--case", default="", help="only the cases whose name contains this")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="measured per run, after a warm-up of 1.5")
    parser.add_argument("--patience", type=float, default=0.0, help="seconds to wait before a run for a quiet machine")
    parser.add_argument("--quick", action="store_true", help="one short, small run of everything: is it working?")
    parser.add_argument("--data-dir", type=Path, default=ROOT.parent, help="on the disk to be measured")
    parser.add_argument("--server-cores", default="0", help="such as 0 or 0,1")
    parser.add_argument("--load-cores", default="1")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "latest.json")
    return parser.parse_args(arguments)


def make_plan(options: argparse.Namespace) -> Plan:
    cores: dict[str, Any] = {
        "server_cores": frozenset(map(int, options.server_cores.split(","))),
        "load_cores": frozenset(map(int, options.load_cores.split(","))),
    }
    if options.quick:
        options.runs = 1
        return Plan(options.data_dir, 0.5, 0.2, limit_s=30.0, scale=0.02, **cores)
    return Plan(options.data_dir, options.seconds, patience_s=options.patience, **cores)


def installed(names: Sequence[str]) -> list[System]:
    """The systems asked for that are here; of the others it says how to get them."""
    wanted = list(SYSTEMS) if "all" in names else names
    there = []
    for name in wanted:
        system = SYSTEMS[name]
        missing = system.missing()
        if missing is None:
            there.append(system)
        else:
            print(f"{name}: not installed: {missing}", file=sys.stderr)
    return there


def run_all(
    plan: Plan, folder: Path, scenarios: Sequence[str], wanted: str, systems: Sequence[System], runs: int
) -> list[dict[str, Any]]:
    """Systems take turns within each run, so that a slow minute of the machine hits all of them."""
    results: list[dict[str, Any]] = []
    for name in scenarios:
        scenario = SCENARIOS[name]
        reasons = {system.name: unfit(scenario, name, system) for system in systems}
        for left_out, reason in reasons.items():
            if reason is not None:
                print(f"{name}: not for {left_out}: {reason}", file=sys.stderr)
        fitting = [system for system in systems if reasons[system.name] is None]
        cases = [case for case in scenario.CASES if wanted in case]
        for number, case, system in product(range(runs), cases, fitting):
            place = folder / f"run-{len(results)}"
            machine.wait_for_quiet(plan.patience_s)
            result = run_one(plan, place, system, scenario, case)
            shutil.rmtree(place, ignore_errors=True)
            row = {"scenario": name, "case": case, "system": system.name, "run": number, **result}
            results.append(row)
            print(table.line(row), file=sys.stderr, flush=True)
    return results


def unfit(scenario: ModuleType, name: str, system: System) -> str | None:
    """Why this scenario is not run with this system."""
    only: Sequence[str] = getattr(scenario, "ONLY", ())
    if only and system.name not in only:
        return f"the scenario is made for {', '.join(only)}"
    return system.unfit.get(name)


def run_one(plan: Plan, folder: Path, system: System, scenario: ModuleType, case: str) -> dict[str, Any]:
    """A failure is a result: it is shown, and the other runs go on."""
    gc.collect()
    gc.disable()
    try:
        return uvloop.run(bounded(plan, folder, system, scenario, case))
    except Exception as error:
        return {"ack_means": system.ack_means, "failed": f"{type(error).__name__}: {error}"[:500]}
    finally:
        gc.enable()


async def bounded(plan: Plan, folder: Path, system: System, scenario: ModuleType, case: str) -> dict[str, Any]:
    run = Run(plan, system, folder)
    try:
        async with asyncio.timeout(plan.limit_s):
            return {"ack_means": system.ack_means, **await scenario.measure(run, case)}
    finally:
        run.stop()


def save(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    sys.exit(main())
