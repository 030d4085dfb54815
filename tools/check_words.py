"""Lists words that the glossary has replaced and that are still in the sources, row by row.

Example:
    python tools/check_words.py
"""

import re
import sys
from pathlib import Path

SUFFIXES = {".rs", ".py", ".pyi", ".md"}

# What to say: where to look, what must not be found there.
ROWS: dict[str, tuple[tuple[str, ...], str]] = {
    "kn2row, kn2col": (("src", "docs/architecture.md"), r"\b(Turned|Folded|turned\.rs|folded\.rs)\b"),
    "gemm::{Gemm, NarrowGemm, StridedBatch, RowGroups}": (
        ("src", "docs/architecture.md"),
        r"\b(Product|Dots|Repeats|Lines)\b|\b(product|dots|lines|staged)::(?!<)",
    ),
    "kernels/gemm/{tile, multi_row, narrow, streamed, planar}.rs": (
        ("src", "docs", "CONTRIBUTING.md"),
        r"\bkernels/(product|lines|dots|staged|planar|fold)\.rs\b",
    ),
    "BLIS strides (rs_a, cs_a, rs_b, ps_b, rs_c)": (("src",), r"\b([abc]_m|[ab]_k|b_n|b_panel)\b"),
    "transpose, shift_add": (("src",), r"\bFolding\b"),
    "fold_batch_norm": (("src",), r"\bpack_folded\b"),
    "Op, lowering.rs, train.rs": (
        ("src/engine", "docs/architecture.md"),
        r"dyn Step\b|\b(Batch|Split|Conv|Dense)Step\b|\bengine/steps?\.rs",
    ),
    "residue": (("src/conv", "src/geometry", "src/kernels", "src/pool.rs"), r"\b[Pp]hases?\b"),
    "non_temporal, stream": (("src", "docs"), r"\b(past_cache|store_past|copy_past)\b"),
    "CmpMask, TailMask, Permutation": (
        ("src/kernels",),
        r"Self::(Lot|Mask|Order)\b|\b(struct|enum|type) (Lot|Mask|Order)\b",
    ),
    "Pass::InputGrad, input_grad": (("src",), r"\b(to_input|ToInput)\b|\bDirection\b|\bflipped: bool\b"),
    "arena.rs, LayerInfo, Slot, Job": (
        ("src", "docs/architecture.md"),
        r"\b(enum|struct) Place\b|\bplaces\.rs",
    ),
    "MapPlan, GradPlan, Tiling, Region": (
        ("src", "docs/architecture.md", "docs/adding"),
        r"\b(Correlation|Correlated|Accumulation|Accumulated|Portion|run_strip|run_piece)\b",
    ),
    "custom": (
        ("src", "docs/architecture.md", "docs/adding"),
        r"\b(Guest|guests?|Judge|judged?|Verdicts?|Outside|OutsideBackward|Caller)\b|\bwith_guests\b",
    ),
    "custom objects, of a user's": (("src/engine",), r"\bVisit\b"),
    "saved, finalize, regularizers.rs and constraints.rs": (
        ("src", "docs/architecture.md", "docs/adding"),
        r"\b(notes_len|[Nn]otes|settled?|Settled|settle_\w+|SettleGradients|Prices)\b|\blimits\.rs",
    ),
    "compile_engine": (("python/gridnn/model",), r"\bsettled?\b"),
    "TileBlock, TileRun, RowRegion": (("src/conv",), r"\b(Stretch|Area|ITEM_BYTES)\b"),
    "strides, spacing": (
        ("src", "benches"),
        r"\b(apart|distance): (\[usize|usize),|fn apart\b|\b(y_step|x_step|x_row)\b",
    ),
    "halo": (("src", "python/gridnn/functional"), r"\bbands?\b"),
    "task, region": (("src",), r"\bpieces?\b"),
    "task": (("src",), r"\bfor_each_part\b|\bparts_per_sample\b|\bportions?\b|\b(trait|struct) Parts\b"),
    "stage of a plan, sample of a batch": (("src",), r"\b(struct|enum) Item\b|\b(?<!= )items?\b(?!\.)"),
    "regions of a tensor, tasks": (("src",), r"\b(strips?|stretch|area)\b(?!\()"),
    "filters.py": (("src", "python/gridnn", "docs"), r"\bgridnn/kernels\.py\b"),
    "a doc that stands alone": (("src",), r"/// See there\b|//!? There is none\b"),
    "a number": (("src", "python/gridnn"), r"(?<!every )\bso many\b(?!.*\bthat\b)"),
    "a number from `tuning`": (
        ("src/conv", "src/ops", "src/engine"),
        r"^\s*const (\w*_BYTES|\w*_MACS|LINE|TASKS|CHUNKS)\b",
    ),
    "StepPlan, LrSchedule, ops/tiling.rs": (("src",), r"\bSchedule\b|\bops/schedule\.rs"),
}

# Lines that may keep such a word: part of a path, part of a line.
ALLOWED: tuple[tuple[str, str], ...] = (("src/engine/optim/rules.rs", "Product of Nadam's"),)


def leftovers(root: Path) -> dict[str, list[str]]:
    """Lines of the sources that use a replaced word, by what they should say."""
    found: dict[str, list[str]] = {}
    for say, (places, pattern) in ROWS.items():
        word = re.compile(pattern)
        for place in places:
            start = root / place
            files = sorted(start.rglob("*")) if start.is_dir() else [start]
            for file in files:
                if file.suffix not in SUFFIXES:
                    continue
                path = file.relative_to(root).as_posix()
                for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                    allowed = any(part in path and text in line for part, text in ALLOWED)
                    if word.search(line) and not allowed:
                        found.setdefault(say, []).append(f"{path}:{number}: {line.strip()}")
    return found


# "Behind" and "in front" for after and before; behind a cache, or a mirror, is what the word is for.
BEHIND = re.compile(r"\b(behind|in front)\b", re.IGNORECASE)
MOST_BEHIND = 20


def behind(root: Path) -> int:
    """How often the Rust sources say where they mean when."""
    files = (root / "src").rglob("*.rs")
    return sum(len(BEHIND.findall(file.read_text(encoding="utf-8"))) for file in files)


def main() -> None:
    """Exits with the lines that say a replaced word."""
    root = Path(__file__).parents[1]
    found = leftovers(root)
    if (count := behind(root)) > MOST_BEHIND:
        sys.exit(f"src/ says behind or in front {count} times, {MOST_BEHIND} may be: say after and before")
    if found:
        rows = (f"say {say}:\n" + "\n".join(f"  {line}" for line in lines) for say, lines in found.items())
        sys.exit("words that docs/glossary.md has replaced\n" + "\n".join(rows))
    print("words: none that docs/glossary.md has replaced")


if __name__ == "__main__":
    main()
