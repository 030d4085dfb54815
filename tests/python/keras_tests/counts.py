"""The section of docs/coming-from-keras.md on Keras' own tests, from the counts of a run.

Example:
    python tests/python/keras_tests/counts.py   # writes the section anew
"""

import json
from pathlib import Path

import skips

HERE = Path(__file__).parent
RECORD = HERE / "counts.json"
PAGE = HERE.parents[2] / "docs/coming-from-keras.md"
MARKS = ("<!-- counts: tests/python/keras_tests -->", "<!-- end of counts -->")
KINDS = ("passed", "failed", "skipped")


def section(record):
    """The tables.

    Args:
        record: what `--record` has written.
    """
    groups = record["groups"]
    total = {kind: sum(group.get(kind, 0) for group in groups.values()) for kind in KINDS}
    lines = [
        f"Keras {record['keras']}: {sum(total.values())} tests, of which {total['passed']} pass, "
        f"{total['failed']} fail and {total['skipped']} are about what is not here.",
        "",
        "| tests of | passed | failed | skipped |",
        "|---|---|---|---|",
    ]
    for name, group in [*groups.items(), ("all", total)]:
        lines.append(f"| {name} | {' | '.join(str(group.get(kind, 0)) for kind in KINDS)} |")
    lines += ["", "| skipped | why |", "|---|---|"]
    lines += [f"| {number} | {reason} |" for reason, number in record["reasons"].items()]
    lines += ["", "Those that fail:", ""]
    for reason, names in skips.FAILURES.items():
        short = ", ".join(f"`{name.split('.')[0]}: {name.partition('_test.')[2]}`" for name in names)
        lines.append(f"- {short}: {reason}")
    return "\n".join(lines)


def page():
    """The page with its section made anew."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    made = section(json.loads(RECORD.read_text(encoding="utf-8")))
    return f"{before}{MARKS[0]}\n{made}\n{MARKS[1]}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
