# shellcheck shell=bash
# ./run test: a runner for each kind of test, and which runners make up a way to test.
#
# A *runner* is a command whose last line is "N passed, N failed"; a *way* (test_NAME) builds what it needs and calls
# runners, which add up in `passed`, `failed` and `skipped`.

passed=0 failed=0 skipped=0
patterns=()

# log_of TITLE: where what it prints is kept.
log_of() {
    mkdir -p "$LOGS"
    printf '%s' "$LOGS/$(tr -cs 'a-zA-Z0-9\n' - <<<"$1").log"
}

# account TITLE LOG STATUS BEGAN: add up the summary that a runner has ended with. If it ended without
# one, that is a failure too, and so is a bad exit status where no test failed, unless no test had been
# asked for by the patterns.
account() {
    local title=$1 status=$3 began=$4 summary p f s
    summary=$(tail -n 1 "$2" | grep -E "$SUMMARY")
    if [[ -z $summary ]]; then
        failed=$((failed + 1))
        if ((status > 128)); then
            complain "$title: killed by signal $((status - 128)) before the summary (one failure)"
        else
            complain "$title: ended with exit status $status without a summary (one failure)"
        fi
        return
    fi
    read -r p _ f _ s _ <<<"$summary"
    passed=$((passed + p))
    failed=$((failed + f))
    skipped=$((skipped + ${s:-0}))
    if ((status != 0 && f == 0 && (p + ${s:-0} > 0 || ${#patterns[@]} == 0))); then
        failed=$((failed + 1))
        complain "$title: exit status $status though no test failed (one failure)"
    fi
    say "$title: $summary, $(since "$began")"
}

# runner TITLE COMMAND...: run something whose last line is a summary, and add that up.
runner() {
    local title=$1 log began
    shift
    log=$(log_of "$title")
    began=$(now)
    "$@" 2>&1 </dev/null | follow loud "$title" "$log"
    account "$title" "$log" "${PIPESTATUS[0]}" "$began"
}

beside_title='' beside_pid='' beside_began=''

# beside TITLE COMMAND...: begin with a runner, beside what comes next; `joined` waits for it, and shows
# what it printed. There is one at a time, for machines have two cores at least, and tests have deadlines.
beside() {
    beside_title=$1
    shift
    beside_began=$(now)
    "$@" >"$(log_of "$beside_title")" 2>&1 </dev/null &
    beside_pid=$!
    trap 'kill "$beside_pid" 2>/dev/null' EXIT # the shell has it ignore Ctrl-C
}

joined() {
    local log status
    log=$(log_of "$beside_title")
    wait "$beside_pid"
    status=$?
    trap - EXIT
    grep -vE "$SUMMARY" "$log"
    account "$beside_title" "$log" "$status" "$beside_began"
}

# Each way to test returns 1 only if it could not build.
test_plain() {
    test_c && test_python
}

test_c() {
    build plain all "${PLAIN[@]}" || return
    runner "C tests" build/plain/tests/c/iora-tests "${patterns[@]}"
    runner "C tests (stingy)" build/plain/tests/c/iora-tests --stingy "${patterns[@]}"
    runner "C tests (signals)" build/plain/tests/c/iora-tests --signals "${patterns[@]}"
    runner "Fault sweeps" build/plain/tests/fault/iora-faults --budget 300 "${patterns[@]}"
    runner "Python tests" python3 -m pytest -q tests/py "${patterns[@]/#/--matching=}"
}

# lay_out_package BUILD: the package as it is imported, with the extension of that build.
lay_out_package() {
    mkdir -p "build/$1-package/iora" &&
        ln -sf "$PWD"/python/iora/* "$PWD/build/$1/python/"_c.*.so "build/$1-package/iora/"
}

build_extension() {
    local name=$1
    build "$@" || return
    lay_out_package "$name"
}

readonly WITH_SEAMS=(pyseams python-extension -Dpython=true -Dexamples=false -Dseams=true)

# What is allocated depends on where things lie in dictionaries, and so on the seed of hashes.
sweep_allocations() {
    PYTHONPATH=build/pyseams-package PYTHONHASHSEED=0 python3 -W ignore python/tests/fault/sweep.py "$@"
}

# Whose doors are tried.
readonly HOSTS=(aiohttp anyio pytest-asyncio uvicorn)

# A CPython from 3.11 on says its version and where it is. What is none, or an environment for Python, says nothing;
# neither does one without the GIL, which the package needs.
readonly TELL_PYTHON='
import os, sys, sysconfig
if (sys.implementation.name == "cpython" and sys.version_info >= (3, 11) and sys.prefix == sys.base_prefix
        and not sysconfig.get_config_var("Py_GIL_DISABLED")):
    print("{}.{}.{}".format(*sys.version_info), os.path.realpath(sys.executable))
'

# Of each version of CPython that is found one: "VERSION PATH", python3 first, the others in order.
find_pythons() {
    local root=${PYENV_ROOT:-$(command -v pyenv >/dev/null && pyenv root || printf '%s' ~/.pyenv)} candidate first
    first=$(python3 -c "$TELL_PYTHON")
    [[ -z $first ]] || say "$first"
    for candidate in $(compgen -c python3. | grep -E '^python3\.[0-9]+$') "$root"/versions/*/bin/python3; do
        "$candidate" -c "$TELL_PYTHON" 2>/dev/null </dev/null
    done | sort -V -u -k 1,1 | grep -v "^${first%% *} "
}

# Whether the package can be built for the interpreter.
is_complete() {
    "$1" -c 'import ensurepip, os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' 2>/dev/null
}

# test_interpreter VERSION PYTHON FOLDER: the package's tests and the conformance run on one interpreter, in an
# environment of its own; what the latter counted comes below build/conformance/VERSION.
test_interpreter() {
    local version=$1 python=$3/bin/python conformance=${IORA_CONFORMANCE:-../shared/conformance}
    if ! is_complete "$2"; then
        say "Python $version: not tested, for want of its headers or of ensurepip"
        return 0
    fi
    python_venv "$2" "$3" pytest && install_what_fits "$3" "${HOSTS[@]}" || return
    beside "Python package on $version" "$python" -m pytest -q python/tests "${patterns[@]/#/--matching=}"
    if [[ ! -e $conformance/run_asyncio_tests.py ]]; then
        say "Conformance of $version: not run, for want of a runner (IORA_CONFORMANCE may name its folder)"
    elif ! "$python" -c 'import test.test_asyncio' 2>/dev/null; then
        say "Conformance of $version: not run, for want of its own tests (test.test_asyncio)"
    else
        runner "Conformance of $version" "$python" python/tests/conformance/conform.py \
            --out "build/conformance/$version" "$conformance" "${patterns[@]}"
        counted+=("build/conformance/$version")
    fi
    joined
}

# What is the same on every interpreter is tested on python3 alone, VERSION.
test_once() {
    build_extension "${WITH_SEAMS[@]}" || return
    beside "Python package (IORA_NO_STEP=1)" env IORA_NO_STEP=1 \
        "build/venv-$1/bin/python" -m pytest -q python/tests "${patterns[@]/#/--matching=}"
    runner "Python fault sweeps" sweep_allocations --every 2 "${patterns[@]}" # ./run prove does without
    joined
}

test_python() {
    local version python first='' status=0 counted=()
    while read -r version python; do
        first=${first:-$version}
        test_interpreter "$version" "$python" "build/venv-$version" || status=1
    done < <(find_pythons)
    ((${#counted[@]} == 0)) || python3 python/tests/conformance/page.py docs/conformance.md "${counted[@]}"
    if [[ -z $first ]]; then
        complain "no CPython from 3.11 on: python3 is $(python3 --version)"
        return 1
    fi
    test_once "$first" && ((status == 0))
}

# What is tested, in the newest version or in that whose suite can be fetched; then what the suites need.
readonly LIBRARIES=(anyio websockets==15.0.1 aiohttp uvicorn starlette httpx redis asyncpg)
readonly SUITES_NEED=(
    pytest pytest-mock pytest-timeout hypothesis psutil trustme truststore werkzeug h11 httptools trio sniffio httpx2
    a2wsgi wsproto python-dotenv pyyaml watchfiles itsdangerous jinja2 python-multipart opentelemetry-sdk chardet
    brotli zstandard rich
)

test_ecosystem() {
    local venv=build/venv-ecosystem
    (set_up "${SERVER_PACKAGES[@]}") || say "What needs a server that is missing will be skipped"
    python_venv python3 "$venv" "${LIBRARIES[@]}" "${SUITES_NEED[@]}" || return
    runner "Other libraries" "$venv/bin/python" python/tests/ecosystem/ecosystem.py --page docs/ecosystem.md \
        "${patterns[@]}"
}

# Debian's headers for this interpreter are those of the other one, which find the other's pyconfig.h: so the macro is ours to
# say. Without it what the extension takes and gives is not counted, and everything seems to leak.
test_python_debug() {
    local file=build/python-debug.ini
    mkdir -p build
    printf "[binaries]\npython = '%s'\n" "$(command -v python3-dbg)" >"$file"
    build_extension pydebug python-extension -Dpython=true -Dexamples=false --native-file "$file" \
        -Dc_args=-DPy_DEBUG || return
    PYTHONPATH=build/pydebug-package runner "Leaks" python3-dbg -m pytest -q python/tests \
        --matching=leak --matching=left_behind "${patterns[@]/#/--matching=}"
}

# The interpreter is not built for it: the run-time library has to be there first, and finds what it has not
# seen allocated only if all memory comes from malloc. Leaks are not looked for, since the interpreter frees
# little at its end; those of ours are counted (python/tests/test_leaks.py).
test_python_asan() {
    build_extension pyasan python-extension -Dpython=true -Dexamples=false \
        -Db_sanitize=address,undefined -Db_lundef=false || return
    runner "Python package (ASan)" env \
        LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
        ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=0}" \
        UBSAN_OPTIONS="${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}" \
        PYTHONMALLOC=malloc PYTHONPATH="$PWD/build/pyasan-package" \
        python3 -m pytest -q python/tests "${patterns[@]/#/--matching=}"
}

test_asan() {
    build asan all "${ASAN[@]}" || return
    # By its own default UBSan tells of undefined behaviour and goes on.
    export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
    runner "C tests (ASan)" build/asan/tests/c/iora-tests "${patterns[@]}"
    runner "Fault sweeps (ASan)" build/asan/tests/fault/iora-faults --budget 420 "${patterns[@]}"
}

test_tsan() {
    build tsan all -Dseams=true -Db_sanitize=thread || return
    # TSan wants its shadow where newer kernels may have put other things. Without random addresses
    # they do not, but not every container lets us ask for that.
    local fixed=()
    if setarch -R true 2>/dev/null; then
        fixed=(setarch -R)
    fi
    runner "C tests (TSan)" "${fixed[@]}" build/tsan/tests/c/iora-tests "${patterns[@]}"
}

test_msan() {
    CC=clang build msan tests/c/iora-tests "${strict[@]}" -Dseams=true -Dexamples=false -Db_sanitize=memory \
        -Db_lundef=false || return
    runner "C tests (MSan)" build/msan/tests/c/iora-tests "${patterns[@]}"
}

test_explore() {
    build explore tests/explore/iora-explore "${strict[@]}" -Dexplore=true -Dexamples=false \
        -Db_sanitize=address || return
    # What was freed is kept for 16 MiB, not 256: a model that forks copies the map of it in each schedule.
    export ASAN_OPTIONS=${ASAN_OPTIONS:-quarantine_size_mb=16}
    runner "Interleavings" build/explore/tests/explore/iora-explore -v "${patterns[@]}"
    runner "Interleavings (bugs on purpose)" python3 tests/explore/mutants.py build/explore "${patterns[@]}"
}

test_valgrind() {
    local c_tests=build/plain/tests/c/iora-tests
    build plain all "${PLAIN[@]}" || return
    # Valgrind is slow, so it gets what runs in simulated time, where that does not matter.
    if ((${#patterns[@]} == 0)); then
        mapfile -t patterns < <("$c_tests" --list | grep -Ev '@(epoll|late)$')
    fi
    runner "C tests (Valgrind)" "$c_tests" \
        --wrap "valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite" \
        "${patterns[@]}"
}

test_ucontext() {
    build ucontext all -Dseams=true -Ducontext=true || return
    runner "C tests (ucontext)" build/ucontext/tests/c/iora-tests "${patterns[@]}"
    runner "Fault sweeps (ucontext)" build/ucontext/tests/fault/iora-faults "${patterns[@]}"
    build ucontext-asan tests/c/iora-tests -Dseams=true -Ducontext=true \
        -Db_sanitize=address,undefined || return
    export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
    runner "C tests (ucontext, ASan)" build/ucontext-asan/tests/c/iora-tests "${patterns[@]}"
}

# An emulator takes about ten times as long, so of the fault sweeps there is every seventh run of those in
# simulated time.
test_aarch64() {
    local qemu=(qemu-aarch64 -L /usr/aarch64-linux-gnu) faults=("${patterns[@]}")
    build aarch64 all --cross-file tests/cross/aarch64.ini -Dseams=true || return
    ((${#faults[@]} > 0)) || faults=(@sim)
    runner "C tests (AArch64)" "${qemu[@]}" build/aarch64/tests/c/iora-tests --slow 10 "${patterns[@]}"
    runner "Fault sweeps (AArch64)" \
        "${qemu[@]}" build/aarch64/tests/fault/iora-faults --every 7 "${faults[@]}"
    IORA_CROSS=aarch64 IORA_BUILD=build/aarch64 runner "Examples, gdb, hardening (AArch64)" \
        python3 -m pytest -q tests/py/test_gdb.py tests/py/test_examples.py tests/py/test_hardening.py \
        -k 'gdb or prints_what or hardening' "${patterns[@]/#/--matching=}"
}

test_hardening() {
    build hardening all --buildtype=release -Dseams=false -Dpython=true || return
    build unhardened src/libiora.a --buildtype=release -Dseams=false -Dexamples=false -Dhardening=false || return
    IORA_BUILD=build/hardening runner "Hardening" \
        python3 -m pytest -q tests/py/test_hardening.py "${patterns[@]/#/--matching=}"
    runner "What hardening costs" python3 tests/py/costs.py build/hardening build/unhardened
}

readonly WAYS=' c asan tsan msan explore valgrind python python-asan python-debug ecosystem ucontext aarch64 hardening '

tests() {
    local how=plain argument
    for argument; do
        case $argument in
        --*)
            if [[ $WAYS != *" ${argument#--} "* ]]; then
                complain "test does not know $argument (./run --help)"
                exit 2
            elif [[ $how != plain ]]; then
                complain "one way to test at a time"
                exit 2
            fi
            how=${argument#--}
            ;;
        -*)
            complain "test does not know $argument (./run --help)"
            exit 2
            ;;
        *) patterns+=("$argument") ;;
        esac
    done
    set_up "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}" "${GUEST_PACKAGES[@]}"
    case $how in
    aarch64) set_up "${AARCH64_PACKAGES[@]}" ;;
    msan) set_up "${FUZZ_PACKAGES[@]}" ;;
    ecosystem | hardening) set_up "${PYTHON_PACKAGES[@]}" ;;
    python-debug) set_up "${DEBUG_PACKAGES[@]}" ;;
    plain | python*)
        set_up "${PYTHON_PACKAGES[@]}"
        set_up_testsuite || exit 2
        ;;
    esac
    "test_${how//-/_}" || failed=$((failed + 1))

    local status=0
    if ((passed + failed == 0)); then
        complain "no test ran"
        status=1
    elif ((failed > 0)); then
        status=1
    fi
    say "$passed passed, $failed failed$( ((skipped == 0)) || printf ', %d skipped' "$skipped")"
    return "$status"
}
