# shellcheck shell=bash
# ./run bench: iora beside its peers. These come from packages, and what is not to be had is left out.

bench() {
    if [[ ${1:-} == net || ${1:-} == python ]]; then
        "bench_$1" "${@:2}"
        return
    fi
    set_up "${BUILD_PACKAGES[@]}" "${BENCH_PACKAGES[@]}"
    # A folder of its own: meson would remember from a demo which peers were not installed.
    build bench bench --buildtype=release -Dseams=false -Dexamples=false -Dbench=true ||
        exit 1
    local programs=build/bench/bench
    python3 bench/bench.py --calibrate $programs/calibrate \
        --iora $programs/iora --iora-static $programs/iora-static \
        --go $programs/peer-go --st $programs/peer-st --fiber $programs/peer-fiber "$@"
}

bench_net() {
    if [[ ${1:-} == --help || ${1:-} == -h ]]; then
        exec python3 bench/net.py --help
    fi
    set_up "${BUILD_PACKAGES[@]}" "${NET_PACKAGES[@]}"
    build net bench-net --buildtype=release -Dseams=false -Dexamples=false -Dbench=true || exit 1
    python3 bench/net.py --programs build/net/bench/net "$@"
}

# What is not to be had for this Python is left out: the bench says so.
readonly LOOPS=(uvloop rloop)
readonly FRAMEWORKS=(aiohttp uvicorn httptools)

bench_python() {
    if [[ ${1:-} == --help || ${1:-} == -h ]]; then
        exec python3 bench/python.py --help
    fi
    set_up "${BUILD_PACKAGES[@]}" "${PYTHON_BENCH_PACKAGES[@]}"
    build net bench/net/load --buildtype=release -Dseams=false -Dexamples=false -Dbench=true ||
        exit 1
    local venv=build/bench-python package
    local pip=("$venv/bin/pip" install --quiet --disable-pip-version-check --upgrade)
    if [[ ! -x $venv/bin/python ]]; then
        step "Making $venv" python3 -m venv "$venv" || exit 1
    fi
    step "Installing iora" "${pip[@]}" . || exit 1
    for package in "${LOOPS[@]}" "${FRAMEWORKS[@]}"; do
        step "Installing $package" "${pip[@]}" "$package"
    done
    python3 bench/python.py --programs build/net/bench/net --python "$venv/bin/python" "$@"
}
