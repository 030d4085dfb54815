"""A worker: tries one number after the other and says which, until it is ended."""

import itertools
import sys
import tempfile
import traceback
from pathlib import Path

from campaign.rows import ROWS
from campaign.runner import BEGIN, END, LOST


def main():
    name, first = sys.argv[1:]
    row = ROWS[name]
    # Whatever the library prints must not look like a report.
    report, sys.stdout = sys.stdout, sys.stderr
    with tempfile.TemporaryDirectory(prefix="gridnn-campaign-") as folder:
        for number in itertools.count(int(first)):
            print(BEGIN, number, file=report, flush=True)
            try:
                tries = row.attempt(number, Path(folder))
            except Exception as error:
                # `PanicException` is a BaseException and ends the worker, which is a finding too.
                where = traceback.extract_tb(error.__traceback__)[-1]
                text = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
                escaped = text[:600].encode("unicode_escape").decode()
                print(LOST, number, escaped, file=report, flush=True)
            else:
                print(END, number, tries, file=report, flush=True)


if __name__ == "__main__":
    main()
