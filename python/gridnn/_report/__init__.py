"""Pages about runs: `Sequential.report` about one with its model, `gridnn.report` to compare several."""

from __future__ import annotations

from gridnn._report._model import write
from gridnn._report._runs import report

__all__ = ["report", "write"]
