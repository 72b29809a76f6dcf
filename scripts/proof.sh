# shellcheck shell=bash
# What proves more than tests do, each a command of its own: ./run analyze, fuzz, coverage, load, faults; and ./run prove,
# which runs all of it.

# ---- analyze -----------------------------------------------------------------------------------

analyze() {
    set_up "${BUILD_PACKAGES[@]}" "${FUZZ_PACKAGES[@]}" "${PYTHON_PACKAGES[@]}"
    python3 tests/analyze/analyze.py "$@"
}

# ---- fuzz --------------------------------------------------------------------------------------

# fuzz_target TARGET SECONDS: what is new lands in build/found/TARGET; an input that fails is a file
# crash-... there too.
fuzz_target() {
    local target=$1 seconds=$2 found=build/found/$1 log=$LOGS/fuzz-$1.log status
    mkdir -p "$found" "$LOGS"
    UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1} \
        build/fuzz/fuzz/fuzz-"$target" -max_total_time="$seconds" -max_len=1000 -timeout=30 \
        -print_final_stats=1 -artifact_prefix="$found/" "$found" fuzz/corpus/"$target" 2>&1 </dev/null |
        follow quiet "Fuzzing $target" "$log"
    status=${PIPESTATUS[0]}
    say "figure: executions of $target = $(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
    say "figure: seconds of $target = $seconds"
    say "figure: findings of $target = $((status != 0))"
    if ((status == 0)); then
        passed=$((passed + 1))
        return
    fi
    failed=$((failed + 1))
    grep -av '^#[0-9]' "$log" | tail -n 40 >&2
    complain "fuzz-$target failed; all of it is in $log"
}

fuzz() {
    local targets=() seconds=60 argument target
    for argument; do
        if [[ $argument =~ ^[0-9]+$ ]]; then
            seconds=$argument
        elif [[ -f fuzz/$argument.c && -d fuzz/corpus/$argument ]]; then
            targets+=("$argument")
        else
            complain "fuzz takes targets, whose files are fuzz/TARGET.c, and a number of seconds"
            exit 2
        fi
    done
    if ((${#targets[@]} == 0)); then
        targets=(fuzz/corpus/*)
        targets=("${targets[@]##*/}")
    fi
    set_up "${BUILD_PACKAGES[@]}" "${FUZZ_PACKAGES[@]}"
    CC=clang build fuzz all -Dfuzz=true -Dexamples=false -Db_lundef=false \
        -Db_sanitize=address,undefined || exit 1
    for target in "${targets[@]}"; do
        fuzz_target "$target" "$seconds"
    done
    say "$passed passed, $failed failed"
    ((failed == 0))
}

# ---- coverage ----------------------------------------------------------------------------------

# The counters lie in a file that all processes of a program share, so that those count too which end
# by a signal or _exit().
readonly COVERAGE_FLAGS='-fprofile-instr-generate -fcoverage-mapping -mllvm -runtime-counter-relocation'

coverage() {
    set_up "${BUILD_PACKAGES[@]}" "${COVERAGE_PACKAGES[@]}"
    LLVM_PROFILE_FILE=/dev/null CC=clang build coverage all -Dseams=true -Dexamples=false \
        "-Dc_args=$COVERAGE_FLAGS" -Dc_link_args=-fprofile-instr-generate || exit 1
    python3 tests/coverage/coverage.py build/coverage --page docs/coverage.md "$@"
}

# ---- load --------------------------------------------------------------------------------------

load() {
    local seconds=300
    if [[ ${1:-} =~ ^[0-9]+$ ]]; then
        seconds=$1
        shift
    fi
    set_up "${BUILD_PACKAGES[@]}"
    build load tests/load/iora-load --buildtype=release -Dseams=false -Dexamples=false || exit 1
    build/load/tests/load/iora-load --seconds "$seconds" "$@"
}

# ---- faults ------------------------------------------------------------------------------------

faults() {
    local how=plain options=("${PLAIN[@]}")
    if [[ ${1:-} == --python ]]; then
        shift
        set_up "${BUILD_PACKAGES[@]}" "${PYTHON_PACKAGES[@]}"
        build_extension "${WITH_SEAMS[@]}" || exit 1
        sweep_allocations "$@"
        exit
    fi
    if [[ ${1:-} == --asan ]]; then
        how=asan options=("${ASAN[@]}")
        export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
        shift
    fi
    set_up "${BUILD_PACKAGES[@]}"
    build "$how" tests/fault/iora-faults "${options[@]}" || exit 1
    exec "build/$how/tests/fault/iora-faults" "$@"
}

# ---- prove -------------------------------------------------------------------------------------

prove() {
    set_up "${PROVE_PACKAGES[@]}"
    exec python3 tests/prove/prove.py "$@"
}
