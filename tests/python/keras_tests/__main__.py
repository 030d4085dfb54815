"""Runs Keras' own tests on gridnn, counted.

The test files come from the Keras that this Python has, and are not part of this repository::

    PYTHONPATH=python /their/python tests/python/keras_tests --only merging --record counts.json
"""

import argparse
import collections
import contextlib
import difflib
import fnmatch
import io
import json
import re
import sys
import traceback
import unittest
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import unneeded  # noqa: F401, I001
import skips
import standins


class Touched:
    """Whether code of gridnn has run, looked at until it has."""

    def __init__(self):
        self.seen = False
        self._folder = str(Path(standins.gn.__file__).parent)

    def __enter__(self):
        sys.setprofile(self._look)
        return self

    def __exit__(self, *error):
        sys.setprofile(None)

    def _look(self, frame, event, argument):
        if event == "call" and frame.f_code.co_filename.startswith(self._folder):
            self.seen = True
            sys.setprofile(None)


def all_tests(suite):
    """The tests of a suite, one by one."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from all_tests(item)
        else:
            yield item


class Result(unittest.TestResult):
    """What became of one test."""

    outcome, text, error = "passed", "", None

    def addSkip(self, test, reason):
        self.outcome, self.text = "skipped", reason

    def _failed(self, test, error):
        self.outcome, self.error = "failed", error[1]
        self.text = "".join(traceback.format_exception(*error))

    addError = addFailure = _failed

    def addSubTest(self, test, subtest, error):
        if error is not None and self.outcome != "failed":
            if issubclass(error[0], unittest.SkipTest):
                self.addSkip(test, str(error[1]))
            else:
                self._failed(test, error)


_UNEXPECTED = re.compile(r"got (?:an )?unexpected (?:keyword )?arguments? \[?'(\w+)'")


def named(name, reasons):
    """The reason that a test is skipped for by its name; None for none."""
    for reason, patterns in reasons.items():
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            return reason
    return None


def run(test):
    """Runs one test: its outcome, and the reason or the traceback.

    What is to be skipped is run as well: a test that passes has passed, whatever the lists of reasons say.
    """
    name = test.id().removeprefix("driven.keras.src.")
    if reason := named(name, skips.EMPTY):
        return "skipped", reason
    result = Result()
    standins.seeded()
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
        Touched() as touched,
    ):
        warnings.simplefilter("ignore")
        test.run(result)
    outcome, text = result.outcome, result.text
    if outcome == "failed":
        if reason := named(name, skips.TESTS):
            return "skipped", reason
        for reason, words in skips.MESSAGES.items():
            if any(word in str(result.error) for word in words):
                return "skipped", reason
        unexpected = re.search(
            r"got (?:an )?unexpected (?:keyword )?arguments? \[?'(\w+)'", str(result.error)
        )
        if unexpected and unexpected[1] in skips.NOT_TAKEN:
            return "skipped", skips.ARGUMENTS
    if outcome == "passed" and not touched.seen:
        return "skipped", skips.NOT_OURS
    if outcome == "skipped":
        text = next((kind for kind, words in skips.KINDS.items() if any(w in text for w in words)), text)
    return outcome, text


def drive(only=""):
    """Runs all tests.

    Args:
        only: a part of the names of files; "" for all.

    Yields:
        Group, name, outcome and text of every test.
    """
    for group, paths in skips.FILES.items():
        for path in paths:
            if only not in path:
                continue
            module = standins.loaded(f"keras.src.{path.replace('/', '.')}_test")
            for test in all_tests(unittest.defaultTestLoader.loadTestsFromModule(module)):
                yield group, test.id().removeprefix("driven.keras.src."), *run(test)


def counted(results):
    """Counts by group, reasons of what was skipped, and names of what has failed."""
    groups, reasons, failed = {}, collections.Counter(), []
    for group, name, outcome, text in results:
        groups.setdefault(group, collections.Counter())[outcome] += 1
        if outcome == "skipped":
            reasons[text] += 1
        elif outcome == "failed":
            failed.append(name)
    return {
        "keras": standins.keras.__version__,
        "groups": {group: dict(sorted(numbers.items())) for group, numbers in groups.items()},
        "reasons": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        "failed": failed,
    }


def shortened(text):
    """A traceback without what is between the test and the end."""
    lines = text.rstrip().split("\n")
    place = max(number for number, line in enumerate(lines) if "_test.py" in line)
    return "\n".join([*lines[place : place + 2], *lines[-14:]])


def alike(results):
    """Errors and the tests that have failed with them, but for what is in quotes."""
    errors = {}
    for _, name, outcome, text in results:
        if outcome == "failed":
            lines = text.strip().split("\n")
            place = re.search(r"_test.py\", line (\d+)", [line for line in lines if "_test.py" in line][-1])
            error = f"{lines[-1]:.200}"
            close = difflib.get_close_matches(error, errors, 1, 0.8)
            short = name.split(".")[-1].split(" ")[0]
            errors.setdefault(close[0] if close else error, []).append(f"{short}:{place[1]}")
    return dict(sorted(errors.items(), key=lambda item: -len(item[1])))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="a part of the path of the files")
    parser.add_argument("--verbose", action="store_true", help="say what became of every test")
    parser.add_argument("--record", help="where to write the counts, as JSON")
    options = parser.parse_args()
    results = []
    for group, name, outcome, text in drive(options.only):
        results.append((group, name, outcome, text))
        if options.verbose and outcome == "failed":
            print(f"{name}\n{shortened(text)}", flush=True)
    counts = counted(results)
    for error, names in alike(results).items() if not options.verbose else ():
        print(f"{len(names)} failed: {error}\n    {' '.join(names[:6])}")
    for group, numbers in counts["groups"].items():
        print(f"{group:16}", dict(numbers))
    for reason, number in counts["reasons"].items():
        print(f"{number:5} skipped: {reason}")
    if options.record:
        Path(options.record).write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
