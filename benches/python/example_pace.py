"""Times the training steps of an example in gridnn and in Keras, by turns, each in a process of its own.

    python benches/python/example_pace.py land_use --data FOLDER --keras-python /their/python --record FILE

On a machine with nothing else to do. A turn is some dozens of steps; the record, a JSON file with an entry
for each example, has the fastest and the slowest turn. The fastest is what counts: after a pause threads may
sit on one processor for seconds, and those of TensorFlow often do.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from examples import EXAMPLES
from libraries import ROOT
from options import replace_text


class Runner:
    """A process that trains for some steps when told to."""

    def __init__(self, python: str, library: str, options: argparse.Namespace) -> None:
        command = [python, str(Path(__file__).with_name("examples.py")), options.name, "--library", library]
        command += [
            "--data",
            str(options.data),
            "--steps",
            str(options.steps),
            "--threads",
            str(options.threads),
        ]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT / "python")},
        )
        self.about: dict[str, Any] = self._answer()

    def turn(self) -> tuple[float, float]:
        """Seconds a step, and the processor's seconds a step."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        seconds, processor = self._answer()
        return seconds, processor

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(map(str, self._process.args))} ended")  # type: ignore[arg-type]
        return json.loads(line)


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description="Steps of an example, in turns.")
    parser.add_argument("name", choices=EXAMPLES)
    parser.add_argument(
        "--data", type=Path, required=True, help="the folder that holds those of all examples"
    )
    parser.add_argument("--record", type=Path, required=True, help="JSON file, made or added to")
    parser.add_argument("--keras-python", help="a Python that has Keras and TensorFlow")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20, help="of a turn")
    parser.add_argument("--turns", type=int, default=9)
    options = parser.parse_args()

    runners = {"gridnn": Runner(sys.executable, "gridnn", options)}
    if options.keras_python:
        runners["keras"] = Runner(options.keras_python, "keras", options)
    times: dict[str, list[tuple[float, float]]] = {library: [] for library in runners}
    for _ in range(options.turns):
        for library, runner in runners.items():
            times[library].append(runner.turn())
    found: dict[str, Any] = {"date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")}
    for library, runner in runners.items():
        seconds = [turn[0] for turn in times[library]]
        fastest, slowest = min(seconds), max(seconds)
        found[library] = {
            **runner.about,
            "threads": options.threads,
            "turns": options.turns,
            "fastest": fastest,
            "slowest": slowest,
            "cpu": min(turn[1] for turn in times[library]),
        }
        print(
            f"{options.name}, {library}: {fastest * 1e3:.1f} to {slowest * 1e3:.1f} ms a step, at best "
            f"{fastest * runner.about['steps']:.1f} s an epoch"
        )
        runner.close()
    record = json.loads(options.record.read_text()) if options.record.exists() else {}
    replace_text(options.record, json.dumps(record | {options.name: found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
