#!/usr/bin/env bash
# Tries docs/tour.md as somebody would who has a bare Debian, a wheel and a folder of JPEG files, and says how long it took:
#     tools/first_hour.sh WHEEL [PICTURES]
# In a new root (debootstrap: Python and nothing else), the tour's install line and its blocks are run, on the pictures (a
# subfolder for each kind; without the argument, drawings of three kinds are made). What has no word in the tour is not done.
# Needs root, debootstrap, and pip on this system, which fetches the packages: the new root has no network of its own.
set -euo pipefail
wheel=$(realpath "${1:?give the wheel}")
pictures=${2:+$(realpath "$2")}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$(command -v python || command -v python3)
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
root=${FIRST_HOUR_ROOT:-$work/root} # one that is there already is used again
suite=${FIRST_HOUR_SUITE:-bookworm}

# Nothing of this system's settings goes in, and what is mounted goes with the command.
inside() {
	unshare --mount /bin/sh -c 'mount -t proc proc "$1/proc" 2>/dev/null; exec chroot "$1" /usr/bin/env -i \
		HOME=/root PATH=/usr/local/bin:/usr/bin:/bin LC_ALL=C.UTF-8 /bin/sh -e' sh "$root"
}
lap() { echo "== $((SECONDS / 60)) min $((SECONDS % 60)) s: $1"; }

if [ ! -e "$root/usr/bin/python3" ]; then
	# The mirror is the one that this system is installed from.
	mirror=$(apt-get indextargets --format '$(REPO_URI)' | head -n 1)
	debootstrap --variant=minbase --include=python3,python3-venv "$suite" "$root" "$mirror" >"$work/debootstrap.log" ||
		{ tail -n 5 "$work/debootstrap.log" >&2; exit 1; }
fi
lap "a bare root with $(chroot "$root" python3 --version)"
SECONDS=0 # what a user has is where the time begins

# The line of the tour, with the wheel in place of the name; fetched here, installed there.
line=$(sed -n 's/^\$ pip install "gridnn\(\[[a-z,]*\]\)"\(.*\)/\1\2/p' docs/tour.md)
extras=${line%%]*}] others=${line#*]}
version=$(chroot "$root" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
rm -rf "$root/trial" && mkdir -p "$root/trial/packages"
# shellcheck disable=SC2086 # several names
"$python" -m pip download --quiet --python-version "$version" --only-binary=:all: -d "$root/trial/packages" \
	"gridnn$extras @ file://$wheel" $others
lap "packages fetched ($(du -sh "$root/trial/packages" | cut -f1))"

"$python" - "$root/trial" "$pictures" <<'END'
import re
import shutil
import sys
from pathlib import Path

trial, pictures = Path(sys.argv[1]), sys.argv[2]
cells = re.findall(r"^```\{code-cell\}\n((?::[^\n]*\n)?)(.*?)^```", Path("docs/tour.md").read_text("utf-8"), re.M | re.S)
blocks = [code for options, code in cells if "remove" not in options]
start = next(number for number, code in enumerate(blocks) if "image_folder" in code)
beginning = re.findall(r"^```python\n(.*?)^```", Path("docs/tour.md").read_text("utf-8"), re.M | re.S)
own = ["import matplotlib\nmatplotlib.use('agg')", *beginning]
# What the page says of photos in colour.
photos = [code.replace(', color="gray"', "").replace("size=32", "size=64").replace("grayscale", "rgb") for code in blocks]
again = "model.fit(train.x, train.y, epochs=30, seed=1, verbose=0)"  # "call `fit` again, with more epochs"
judge = 'print("loss, accuracy:", model.evaluate(test.x, test.y, verbose=0))'
(trial / "as_it_is.py").write_text("\n".join([own[0], *blocks, judge]))
(trial / "own.py").write_text("\n".join([*own, *photos[start:], judge, again, judge]))
if pictures:
    shutil.copytree(pictures, trial / "pictures")
END
if [ -z "$pictures" ]; then
	cat >"$root/trial/draw.py" <<'END'
import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

random.seed(0)
for kind in ("disc", "square", "cross"):
    folder = Path("pictures", kind)
    folder.mkdir(parents=True)
    for number in range(60):
        width, height = random.randint(90, 160), random.randint(90, 160)
        paper, ink = (tuple(random.randint(a, a + 90) for _ in "rgb") for a in (150, 0))
        image = Image.new("RGB", (width, height), paper)
        draw = ImageDraw.Draw(image)
        r, x, y = random.randint(20, 34), random.randint(36, width - 36), random.randint(36, height - 36)
        box = (x - r, y - r, x + r, y + r)
        if kind == "disc":
            draw.ellipse(box, ink)
        elif kind == "square":
            draw.rectangle(box, ink)
        else:
            draw.line(box, ink, 8)
            draw.line((x - r, y + r, x + r, y - r), ink, 8)
        image.filter(ImageFilter.GaussianBlur(1)).save(folder / f"{number:03}.jpg")
END
fi

inside <<'END'
cd /trial
python3 -m venv gridnn-tour
. gridnn-tour/bin/activate
pip install --quiet --no-index --find-links packages packages/gridnn-*.whl $(ls packages | sed 's/-.*//' | sort -u | grep -v '^gridnn$')
END
lap "installed"
inside <<'END'
cd /trial
. gridnn-tour/bin/activate
[ -e pictures ] || python draw.py
mkdir -p digits && cd digits
python ../as_it_is.py
END
lap "the tour as it is"
inside <<'END'
cd /trial
. gridnn-tour/bin/activate
echo "$(find pictures -type f | wc -l) pictures of $(ls pictures | wc -l) kinds"
python own.py
gridnn predict digits.gridnn $(find pictures -type f | sort | head -n 2)
gridnn info digits.gridnn | head -n 3
ls -l digits.gridnn digits.onnx run.html
END
lap "a model of one's own pictures, trained, evaluated, saved and exported"
