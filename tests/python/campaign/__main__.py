"""The command line: ``python -m campaign [ROW ...] [--minutes M | --tries N] [--first NUMBER]``."""

import argparse
import sys

from campaign.rows import ROWS
from campaign.runner import run


def main():
    parser = argparse.ArgumentParser(prog="campaign", description="Tries to break what gridnn promises.")
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)}; all of them by default")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=8.0, help="for all rows together (default 8)")
    length.add_argument("--tries", type=int, help="for each row, however long it takes")
    length.add_argument("--whole", action="store_true", help="as many as docs/reliability.md reports")
    parser.add_argument("--first", type=int, default=0, help="the number to begin with")
    arguments = parser.parse_args()
    unknown = set(arguments.rows) - set(ROWS)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    chosen = [ROWS[name] for name in arguments.rows or ROWS]
    lost = 0
    for row in chosen:
        if arguments.whole or arguments.tries:
            limits = {"tries": arguments.tries or row.whole}
        else:
            limits = {"seconds": 60.0 * arguments.minutes / len(chosen)}
        outcome = run(row, first=arguments.first, **limits)
        print(outcome.text(), flush=True)
        lost += len(outcome.lost)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
