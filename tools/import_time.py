"""Prints how long `import gridnn` takes on top of `import numpy`: the median over fresh interpreters."""

import statistics
import subprocess
import sys

RUNS = 11
CODE = """
import time, numpy
start = time.perf_counter()
import gridnn
print(time.perf_counter() - start)
"""


def main() -> None:
    """Measures and prints; the first run, which may compile bytecode, does not count."""
    command = [sys.executable, "-c", CODE]
    seconds = [float(subprocess.check_output(command, text=True)) for _ in range(RUNS + 1)][1:]
    print(f"import gridnn: {statistics.median(seconds) * 1e3:.1f} ms above import numpy (aim: below 30 ms)")


if __name__ == "__main__":
    main()
