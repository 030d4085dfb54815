#!/usr/bin/env bash
# Builds gridnn for aarch64 Linux on an x86-64 Debian machine, and runs what comes of it under qemu.
#
#   aarch64.sh setup            fetch and unpack all tools; at once if they are there
#   aarch64.sh test [ARGS...]   cargo test for aarch64, of the library unless ARGS say otherwise (as --test conv)
#   aarch64.sh python [ARGS...] build the extension, and run the arm64 Python that has it with ARGS
#   aarch64.sh check HOST       what `make test-aarch64` runs; HOST is a Python of this machine that has gridnn
#   aarch64.sh quick HOST       the part of it that compares bytes; nothing where packages cannot be had
#   aarch64.sh targets          checks that the crate compiles for Windows, macOS and WebAssembly; warnings are errors
#   aarch64.sh wheel TARGET DIR [python3.14t]
#                               a wheel for a Linux of either libc, by maturin and zig (pip install maturin ziglang);
#                               for all versions of Python unless one is named
#   aarch64.sh loops            how good the code for NEON is: what models of processors and counted instructions say
#   aarch64.sh env              exports for a shell in which plain cargo commands do the same
#
# Everything lies in one folder, $GRIDNN_AARCH64 or ~/.cache/gridnn-aarch64. Nothing is installed, no file of the machine
# is changed, and root is not needed: packages are fetched with a state of apt's own kept there, and unpacked.
#
# Rust: rustup may have nothing to offer here, and rustc wants the std of its own build. Debian's stable release has
# both: rustc-web, a recent compiler kept for the browsers, and its std for every architecture. It runs on its own libc.
# Linker: the machine's own release has a cross compiler. Its libc is the older one, so that is what wheels need.
set -euo pipefail

LLVM=22 # of the compiler
SUITE=trixie # has the compiler; the newest release is as good if it has one that is new enough for Cargo.toml
TARGET=aarch64-unknown-linux-gnu
CACHE=${GRIDNN_AARCH64:-${XDG_CACHE_HOME:-$HOME/.cache}/gridnn-aarch64}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SOURCE=${GRIDNN_SOURCE:-$HERE}
while [[ $SOURCE != / && ! -f $SOURCE/Cargo.toml ]]; do SOURCE=$(dirname "$SOURCE"); done

fail() {
    echo "aarch64.sh: $*" >&2
    exit 1
}

# apt with packages, lists and settings of our own. $1: native architecture; $2: what counts as installed; rest: command.
apt_own() {
    local native=$1 status=$2
    shift 2
    APT_CONFIG=$CACHE/apt/$native.conf apt-get -qq -o Dir::State::status="$status" "$@"
}

configure_apt() {
    local mirror keys=/usr/share/keyrings/debian-archive-keyring.gpg native
    [[ $(dpkg --print-architecture) == amd64 ]] || fail "this is for amd64 machines"
    # shellcheck disable=SC1091
    OWN=$(. /etc/os-release && echo "$VERSION_CODENAME")
    # The machine's own mirror, from its own settings: those are printed, nothing is fetched.
    mirror=$(apt-get update --print-uris | sed -n "s#^'\(.*\)/dists/$OWN/InRelease'.*#\1#p" | head -n 1)
    [[ -n $mirror ]] || fail "found no Debian mirror in the settings of apt"
    mkdir -p "$CACHE"/apt/{lists,rust,gcc,arm64}/partial
    : >"$CACHE/apt/nothing"
    printf "deb [signed-by=$keys] %s %s main\n" "$mirror" "$SUITE" >"$CACHE/apt/sources.list"
    [[ $OWN == "$SUITE" ]] || printf "deb [signed-by=$keys] %s %s main\n" "$mirror" "$OWN" >>"$CACHE/apt/sources.list"
    for native in amd64 arm64; do
        cat >"$CACHE/apt/$native.conf" <<END
Dir::Etc::sourcelist "$CACHE/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "$CACHE/apt/lists";
Dir::State::extended_states "$CACHE/apt/nothing";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Log "$CACHE/apt";
APT::Architecture "$native";
APT::Architectures { "$native"; $([[ $native == arm64 ]] || echo '"arm64";') };
APT::Install-Recommends "false";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Debug::NoLocking "true";
END
    done
}

# Fetches packages with all they need into apt/$1.
fetch() {
    local place=$1 native=$2 status=$3 suite=$4
    shift 4
    apt_own "$native" "$status" -o Dir::Cache::archives="$CACHE/apt/$place" -t "$suite" -y --download-only install "$@" >/dev/null
}

unpack() {
    local deb to=$1
    shift
    mkdir -p "$to"
    for deb; do dpkg-deb -x "$deb" "$to"; done
    for deb in lib bin lib64; do # what base-files would have made
        [[ -e $to/$deb || ! -e $to/usr/$deb ]] || ln -s "usr/$deb" "$to/$deb"
    done
}

script() {
    printf '#!/bin/sh\n%s\n' "$2" >"$CACHE/bin/$1"
    chmod +x "$CACHE/bin/$1"
}

setup() {
    local stamp
    stamp=$(declare -f apt_own configure_apt fetch unpack script setup | cat - <(echo "$SUITE $CACHE") | sha256sum)
    if [[ $(cat "$CACHE/done" 2>/dev/null) == "$stamp" ]]; then return; fi
    command -v cargo >/dev/null || fail "there is no cargo"
    mkdir -p "$CACHE/bin"
    configure_apt
    echo "aarch64.sh: fetching tools into $CACHE" >&2
    apt_own amd64 "$CACHE/apt/nothing" update
    rm -rf "$CACHE"/{rust,gcc,arm64}

    # The compiler with its libraries, and the std of the target.
    fetch rust amd64 "$CACHE/apt/nothing" "$SUITE" libstd-rust-web-dev
    (cd "$CACHE/apt/rust" && apt_own amd64 "$CACHE/apt/nothing" download -t "$SUITE" rustc-web libstd-rust-web-dev:arm64 qemu-user)
    unpack "$CACHE/rust" "$CACHE"/apt/rust/{gcc,lib,rustc,zlib}*.deb
    # Of the emulators one is enough; it is linked statically.
    dpkg-deb --fsys-tarfile "$CACHE"/apt/rust/qemu-user_*.deb | tar x -C "$CACHE/bin" --strip-components 3 ./usr/bin/qemu-aarch64

    # What the machine lacks of a cross compiler.
    if ! command -v aarch64-linux-gnu-gcc >/dev/null; then
        fetch gcc amd64 /var/lib/dpkg/status "$OWN" gcc-aarch64-linux-gnu libc6-dev-arm64-cross
        unpack "$CACHE/gcc" "$CACHE"/apt/gcc/*.deb
    fi

    # An arm64 Python with NumPy, and the libraries that tests run on.
    fetch arm64 arm64 "$CACHE/apt/nothing" "$SUITE" python3-numpy
    unpack "$CACHE/arm64" "$CACHE"/apt/arm64/*.deb
    ln -sf blas/libblas.so.3 lapack/liblapack.so.3 "$CACHE/arm64/usr/lib/aarch64-linux-gnu/" # Debian's "alternatives"

    script rustc "exec '$CACHE/rust/lib64/ld-linux-x86-64.so.2' --library-path '$CACHE/rust/usr/lib/x86_64-linux-gnu' \\
    '$CACHE/rust/usr/bin/rustc' --sysroot '$CACHE/rust/usr' \"\$@\""
    script rustdoc "exec '$CACHE/rust/lib64/ld-linux-x86-64.so.2' --library-path '$CACHE/rust/usr/lib/x86_64-linux-gnu' \\
    '$CACHE/rust/usr/bin/rustdoc' --sysroot '$CACHE/rust/usr' \"\$@\""
    if [[ -d $CACHE/gcc ]]; then
        script linker "LD_LIBRARY_PATH='$CACHE/gcc/usr/lib/x86_64-linux-gnu' \\
    exec '$CACHE/gcc/usr/bin/aarch64-linux-gnu-gcc' --sysroot='$CACHE/gcc' \"\$@\""
    else
        script linker 'exec aarch64-linux-gnu-gcc "$@"'
    fi
    script qemu "exec '$CACHE/bin/qemu-aarch64' -L '$CACHE/arm64' \"\$@\""
    # Under its own name, so that a child process that it starts is emulated too.
    local python
    python=$(cd "$CACHE/arm64/usr/bin" && ls python3.* | grep -x 'python3\.[0-9]*' | tail -n 1)
    script python "PYTHONHOME='$CACHE/arm64/usr' exec '$CACHE/bin/qemu-aarch64' -L '$CACHE/arm64' -0 \"\$0\" '$CACHE/arm64/usr/bin/$python' \"\$@\""
    rm -rf "$CACHE"/apt
    echo "$stamp" >"$CACHE/done"
}

exports() {
    local name=CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU
    printf 'export %s=%q\n' RUSTC "$CACHE/bin/rustc" RUSTDOC "$CACHE/bin/rustdoc" \
        CARGO_BUILD_TARGET $TARGET CARGO_TARGET_DIR "${CARGO_TARGET_DIR:-$CACHE/target}" \
        ${name}_LINKER "$CACHE/bin/linker" ${name}_RUNNER "$CACHE/bin/qemu" \
        CC_aarch64_unknown_linux_gnu "$CACHE/bin/linker"
}

check_rust() {
    local least have
    least=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' "$SOURCE/Cargo.toml")
    have=$("$CACHE/bin/rustc" --version | cut -d' ' -f2)
    [[ $(printf '%s\n' "$least" "$have" | sort -V | head -n 1) == "$least" ]] || fail "Cargo.toml wants Rust $least, $SUITE has $have"
}

# Emulated programs have stood still, once in many days: each has its time, and may try again.
limited() {
    local status=0
    timeout "${MINUTES:-20}m" "$@" || status=$?
    if [[ $status == 124 ]]; then
        echo "aarch64.sh: stood still for ${MINUTES:-20} minutes, and is tried once more: $*" >&2
        status=0
        timeout "${MINUTES:-20}m" "$@" || status=$?
    fi
    return $status
}

# Kernels are only fast enough for an emulator with everything that the compiler can do to them.
run_tests() {
    local build=() argument
    [[ $# -gt 0 ]] || set -- --lib
    for argument; do
        [[ $argument != -- ]] || break
        build+=("$argument")
    done
    (
        cd "$SOURCE"
        export CARGO_PROFILE_DEV_OPT_LEVEL=3 CARGO_PROFILE_DEV_DEBUG=0 PROPTEST_CASES="${PROPTEST_CASES:-16}"
        cargo test --locked --no-run "${build[@]}"
        limited cargo test --locked "$@"
    )
}

# The extension by the profile for releases, changed by what stands before the call.
build_extension() {
    (cd "$SOURCE" && PYO3_BUILD_EXTENSION_MODULE=1 PYO3_NO_PYTHON=1 cargo build --locked --release --lib --features python)
}

# Puts it beside the Python sources in $CACHE/site, with what runs its tests. $1: a Python that can install.
install_python() {
    local site=$CACHE/site
    rm -rf "$site/gridnn"
    mkdir -p "$site"
    cp -r "$SOURCE/python/gridnn" "$site/"
    rm -f "$site"/gridnn/_core.*so
    cp "${CARGO_TARGET_DIR:-$CACHE/target}/$TARGET/release/libgridnn.so" "$site/gridnn/_core.abi3.so"
    # Plain Python packages, which any Python can install for another.
    [[ -d $site/pytest ]] || "$1" -m pip install --quiet --target "$site" 'pytest>=8.2,<10' 'pytest-timeout>=2.3'
}

emulated() {
    PYTHONPATH="$CACHE/site:$SOURCE/tests/python" limited "$CACHE/bin/python" "$@"
}

# One compiler process for each core; link-time optimisation would take minutes and shows in no result.
build_python() {
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 build_extension
    install_python "$1"
}

run_python() {
    build_python python3
    if [[ $# -gt 0 ]]; then
        emulated "$@"
    else
        emulated -c 'import platform, gridnn; print("gridnn", gridnn.__version__, platform.machine(), gridnn.simd_tier())'
        emulated -m gridnn demo --epochs 1
    fi
}

# tests/python/across_machines.py by the Python of this machine on AVX2, and emulated on a tier.
on_host() {
    GRIDNN_SIMD=avx2 PYTHONPATH="$SOURCE/python:$SOURCE/tests/python" "$HOST" "$SOURCE/tests/python/across_machines.py" "$@"
}

on_arm() {
    GRIDNN_SIMD=$1 emulated "$SOURCE/tests/python/across_machines.py" "${@:2}"
}

# The lines that a command of across_machines.py prints on a tier must be those of AVX2.
same_lines() {
    local tier=$1
    shift
    on_host "$@" >"$CACHE/expected"
    on_arm "$tier" "$@" >"$CACHE/found" || fail "$* on $tier did not end well"
    diff "$CACHE/expected" "$CACHE/found" || fail "$tier gives other results than avx2: $*"
    echo "aarch64.sh: $* on $tier: $(wc -l <"$CACHE/found") lines equal those of avx2"
}

quick() {
    local MINUTES=${MINUTES:-8}
    local run=$CACHE/run
    build_python "$HOST"
    same_lines neon layers
    same_lines neon models rank
    # Half of a training on one machine, the other half on the other, in both directions.
    rm -rf "$run"
    mkdir -p "$run"
    on_host begin "$run/x86" >"$run/expected"
    on_arm neon continue "$run/x86" >"$run/found"
    diff "$run/expected" "$run/found" || fail "trainings that began on x86 end otherwise here"
    on_arm neon begin "$run/arm" >"$run/found"
    diff "$run/expected" "$run/found" || fail "trainings end otherwise than on x86"
    on_host continue "$run/arm" >"$run/found"
    diff "$run/expected" "$run/found" || fail "trainings that began on AArch64 end otherwise on x86"
    echo "aarch64.sh: trainings of every rank continue on the other machine, to the byte"
}

# The slow tests count allocations, and want one thread.
check() {
    local name
    quick
    same_lines portable layers
    run_tests --lib
    for name in "$SOURCE"/tests/*.rs; do
        name=$(basename "$name" .rs)
        case $name in
        alloc*) run_tests --test "$name" -- --test-threads 1 ;;
        *) run_tests --test "$name" ;;
        esac
    done
    same_lines neon models
    (cd "$SOURCE" && emulated -m pytest -q -p no:cacheprovider --timeout 600 tests/python/test_goldens.py \
        tests/python/test_layers.py tests/python/test_saving.py tests/python/test_functional_conv.py)
}

# llvm-mca and the disassembler of the compiler's own LLVM, and an emulator that takes plug-ins.
setup_loops() {
    [[ ! -e $CACHE/bin/python-counted ]] || return 0
    local python
    configure_apt
    apt_own amd64 "$CACHE/apt/nothing" update
    (cd "$CACHE/apt/rust" && apt_own amd64 "$CACHE/apt/nothing" download -t "$SUITE" "llvm-$LLVM")
    dpkg-deb --fsys-tarfile "$CACHE"/apt/rust/llvm-*.deb | tar x -C "$CACHE/bin" --strip-components 5 \
        ./usr/lib/llvm-$LLVM/bin/llvm-mca ./usr/lib/llvm-$LLVM/bin/llvm-objdump
    fetch gcc amd64 /var/lib/dpkg/status "$OWN" qemu-user
    unpack "$CACHE/emulator" "$CACHE"/apt/gcc/*.deb
    for name in llvm-mca llvm-objdump; do
        mv "$CACHE/bin/$name" "$CACHE/bin/$name.own"
        script $name "exec '$CACHE/rust/lib64/ld-linux-x86-64.so.2' --library-path '$CACHE/rust/usr/lib/x86_64-linux-gnu' \\
    '$CACHE/bin/$name.own' \"\$@\""
    done
    gcc -Wall -Wextra -Werror -shared -fPIC -O2 -o "$CACHE/bin/count_instructions.so" "$HERE/count_instructions.c"
    python=$(cd "$CACHE/arm64/usr/bin" && ls python3.* | grep -x 'python3\.[0-9]*' | tail -n 1)
    script python-counted "LD_LIBRARY_PATH='$CACHE/emulator/usr/lib/x86_64-linux-gnu' PYTHONHOME='$CACHE/arm64/usr' \\
    exec '$CACHE/emulator/usr/bin/qemu-aarch64' -L '$CACHE/arm64' -plugin '$CACHE/bin/count_instructions.so' \\
    '$CACHE/arm64/usr/bin/$python' \"\$@\""
    rm -rf "$CACHE/apt"
}

# The compiler's own sources of std, of which cargo makes that of any system; and for Windows what makes its import libraries.
setup_targets() {
    local sources=$CACHE/rust/usr/lib/rustlib/src/rust
    [[ ! -e $CACHE/bin/x86_64-w64-mingw32-dlltool ]] || return 0
    configure_apt
    apt_own amd64 "$CACHE/apt/nothing" update
    (cd "$CACHE/apt/rust" && apt_own amd64 "$CACHE/apt/nothing" download -t "$SUITE" rust-web-src)
    rm -rf "$sources"
    mkdir -p "$sources"
    dpkg-deb --fsys-tarfile "$CACHE"/apt/rust/rust-web-src_*.deb |
        tar x -C "$sources" --strip-components 4 --wildcards './usr/src/rustc-*/library'
    fetch gcc amd64 /var/lib/dpkg/status "$OWN" binutils-mingw-w64-x86-64
    unpack "$CACHE/mingw" "$CACHE"/apt/gcc/*.deb
    script x86_64-w64-mingw32-dlltool "LD_LIBRARY_PATH='$CACHE/mingw/usr/lib/x86_64-linux-gnu' \\
    exec '$CACHE/mingw/usr/bin/x86_64-w64-mingw32-dlltool' \"\$@\""
    rm -rf "$CACHE/apt"
}

# The lines of the crate that refuse processors, compiled for $1, which has no std here: they must fail, and say $2.
refuses() {
    local file=$CACHE/refuses.rs said
    {
        printf '%s\n' '#![feature(no_core, rustc_attrs)]' '#![no_core]' \
            '#[rustc_builtin_macro] macro_rules! compile_error { ($message:expr $(,)?) => {}; }'
        sed -n '/^#\[cfg(not/,/);$/p' "$SOURCE/src/lib.rs"
    } >"$file"
    said=$("$CACHE/bin/rustc" --target "$1" --edition 2024 --crate-type lib --emit metadata -o "$CACHE/refused" "$file" 2>&1) &&
        fail "$1 is not refused"
    [[ $said == *"error: gridnn does not support $2 processors"* ]] || fail "$1 is refused for another reason: $said"
    echo "aarch64.sh: $1 is refused, because $2 processors are not supported"
}

# Types are checked, nothing is linked; for WebAssembly without the bindings, for which there is no Python to load them.
run_targets() {
    local target panic features
    setup_targets
    cd "$SOURCE"
    export PATH=$CACHE/bin:$PATH RUSTC_BOOTSTRAP=1 RUSTFLAGS="-D warnings" PYO3_BUILD_EXTENSION_MODULE=1 PYO3_NO_PYTHON=1
    for target in ${TARGETS:-x86_64-pc-windows-gnu aarch64-apple-darwin wasm32-wasip1}; do
        panic=panic_unwind features=(--features python)
        [[ $target != wasm* ]] || panic=panic_abort features=()
        cargo check --locked --lib --target "$target" -Zbuild-std="std,$panic" "${features[@]}"
        echo "aarch64.sh: the crate compiles for $target, without a warning"
    done
    refuses s390x-unknown-linux-gnu big-endian
    refuses i686-unknown-linux-gnu 32-bit
}

# zig links for the oldest glibc, and for musl. Debian has no std for musl, so that one is compiled.
run_wheel() {
    local target=$1 folder=$2 python=$3 options=(--compatibility manylinux2014)
    python3 -c 'import maturin, ziglang' || fail "the python3 at hand has no maturin and no ziglang"
    if [[ $target == *musl ]]; then
        setup_targets
        options=(--compatibility musllinux_1_2 -Z build-std=std,panic_unwind)
        export RUSTC_BOOTSTRAP=1
    fi
    unset CARGO_BUILD_TARGET "${!CARGO_TARGET_AARCH64@}" CC_aarch64_unknown_linux_gnu
    python3 -m maturin build --manifest-path "$SOURCE/Cargo.toml" --release --locked --zig --target "$target" \
        --interpreter "$python" "${options[@]}" --out "$folder"
    python3 "$HERE/check_release.py" wheel "$folder"
}

# From the library as it is released.
run_loops() {
    setup_loops
    build_extension
    install_python python3
    export GRIDNN_AARCH64_BIN=$CACHE/bin PYTHONPATH=$CACHE/site
    python3 "$HERE/arm_loops.py" loops "$CACHE/site/gridnn/_core.abi3.so"
    python3 "$HERE/arm_loops.py" calls
}

verb=${1:-}
[[ $# -eq 0 ]] || shift
case $verb in
setup) setup ;;
env) setup && exports ;;
test | python | check | quick | loops | targets | wheel)
    # In a process of its own, where a command that fails ends it.
    if [[ $verb == quick ]] && ! "${BASH_SOURCE[0]}" setup; then
        echo "aarch64.sh: the tools cannot be had here: NOTHING WAS TESTED FOR AARCH64" >&2
        exit 0
    fi
    setup
    check_rust
    eval "$(exports)"
    unset RUSTC_WRAPPER
    case $verb in
    test) run_tests "$@" ;;
    python) run_python "$@" ;;
    loops) run_loops ;;
    targets) run_targets ;;
    wheel) run_wheel "${1:?a target, as $TARGET or x86_64-unknown-linux-musl}" "${2:?a folder}" "${3:-python3.10}" ;;
    *)
        HOST=${1:?a Python of this machine that has gridnn}
        $verb
        ;;
    esac
    ;;
*) sed -n '2,/^$/s/^# \{0,1\}//p;/^set -/q' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
esac
