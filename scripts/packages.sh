# shellcheck shell=bash
# What has to be there before anything is built: packages of the distribution, build folders, environments for Python.
#
# On Debian and its relatives a package is looked for by its name, and installed; elsewhere by what it brings, and
# named if that is missing. Nothing is fetched but by name, from the distribution and from PyPI.

readonly OS_RELEASE=${IORA_RUN_OS_RELEASE:-/etc/os-release} # the tests pretend to be elsewhere

# A package of Debian's, and what it brings: a command, <a header>, pkg:a-name-of-pkg-config's or
# python:a.module, by which the same thing is found elsewhere.
readonly BUILD_PACKAGES=(
    gcc=gcc
    'libc6-dev=<stdio.h>'
    meson=meson
    ninja-build=ninja
    pkgconf=pkg-config
)
# Loops that iora is shown in, and tested in.
readonly GUEST_PACKAGES=(
    libglib2.0-dev=pkg:gio-2.0
    'libev-dev=<ev.h>'
)
readonly DEMO_PACKAGES=(
    wrk=wrk
    curl=curl
    nginx-light=nginx
)
readonly TEST_PACKAGES=(
    'g++=g++'
    clang=clang
    gdb=gdb
    valgrind=valgrind
    libc6-dbg=- # Valgrind cannot do without on Debian; other distributions keep the symbols
    python3-pytest=python:pytest
)
readonly AARCH64_PACKAGES=(
    gcc-aarch64-linux-gnu=aarch64-linux-gnu-gcc
    libc6-dev-arm64-cross=- # elsewhere it comes with the compiler
    qemu-user=qemu-aarch64
    gdb-multiarch=gdb-multiarch
    python3-pytest=python:pytest
)
readonly FUZZ_PACKAGES=(
    clang=clang
    libclang-rt-dev=- # elsewhere it comes with clang
)
readonly PROVE_PACKAGES=(
    python3=python3 # and each section installs what it needs
)
readonly COVERAGE_PACKAGES=(
    clang=clang
    libclang-rt-dev=-
    llvm=llvm-cov
)
readonly PYTHON_PACKAGES=(
    python3-dev=python-headers
    python3-venv=python:ensurepip
)
readonly DEBUG_PACKAGES=(
    python3-dbg=python3-dbg
)
readonly SERVER_PACKAGES=( # without them the scenarios that need them are skipped
    redis-server=redis-server
    postgresql=initdb
)
readonly BENCH_PACKAGES=(
    'g++=g++'
    golang-go=go
    'libst-dev=<st.h>'
    'libboost-fiber-dev=<boost/fiber/all.hpp>'
    'libboost-context-dev=<boost/context/fiber.hpp>'
)
readonly NET_PACKAGES=(
    'g++=g++'
    golang-go=go
    'libuv1-dev=<uv.h>'
    'libevent-dev=<event2/event.h>'
    'libboost-context-dev=<boost/context/fiber.hpp>'
    'libboost-coroutine-dev=<boost/coroutine/all.hpp>'
    wrk=wrk
    strace=strace
)
readonly PYTHON_BENCH_PACKAGES=(
    'g++=g++'
    'python3-dev=python:venv' # Debian alone takes the headers away from Python
    python3-venv=python:ensurepip
    wrk=wrk
    valgrind=valgrind
)

is_debian() {
    [[ -r $OS_RELEASE ]] || return 1
    local ids
    # shellcheck disable=SC1090 # a file of assignments: see os-release(5)
    ids=$(. "$OS_RELEASE" && printf ' %s %s ' "${ID:-}" "${ID_LIKE:-}")
    [[ $ids == *' debian '* || $ids == *' ubuntu '* ]] && command -v apt-get dpkg-query >/dev/null
}

brings() {
    case $1 in
    -) ;;
    '<'*) printf '#include %s\n' "$1" | g++ -E -x c++ - || printf '#include %s\n' "$1" | gcc -E - ;;
    pkg:*) ! command -v pkg-config || pkg-config --exists "${1#pkg:}" ;; # without it nobody can tell
    python:*) python3 -c "import ${1#python:}" ;;
    python-headers) [[ -e $(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h ]] ;;
    *) command -v "$1" ;;
    esac &>/dev/null
}

# The packages of NAME=WHAT... that are missing.
missing_packages() {
    local entry name installed
    if is_debian; then
        installed=" $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${@%%=*}" 2>/dev/null |
            sed -n 's/^installed //p' | tr '\n' ' ')"
    fi
    for entry; do
        name=${entry%%=*}
        if [[ $name == golang-go || $name == nginx-light ]] && brings "${entry#*=}"; then
            continue # any Go and any nginx will do, wherever they came from
        elif is_debian; then
            [[ $installed == *" $name "* ]] || say "$name"
        else
            brings "${entry#*=}" || say "$name"
        fi
    done
}

# set_up NAME=WHAT...: see to it that the packages are there, or stop.
set_up() {
    local missing as_root=()
    mapfile -t missing < <(missing_packages "$@")
    if ((${#missing[@]} > 0)); then
        if ! is_debian; then
            complain "missing: ${missing[*]}"
            complain "Debian calls them so: install them by the names they have here, then try again"
            exit 2
        fi
        if ((EUID != 0)); then
            if ! command -v sudo >/dev/null; then
                complain "missing: ${missing[*]}"
                complain "neither root nor sudo: install them with apt-get, then try again"
                exit 2
            fi
            as_root=(sudo)
            sudo -v || exit 2 # asks for the password, where it can be seen
        fi
        as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
        step "Fetching the list of packages" "${as_root[@]}" update || exit 2
        step "Installing ${missing[*]}" \
            "${as_root[@]}" install -y --no-install-recommends "${missing[@]}" || exit 2
    fi
    # The distribution's tools first: another Python on PATH knows nothing of its packages.
    if is_debian; then
        export PATH=/usr/bin:/bin:$PATH
    fi
}

# Where changes are checked a warning is an error. Elsewhere a newer compiler may warn of what no older one knew.
strict=()
if [[ ${CI:-} == true ]]; then
    strict=(--werror)
fi

# The options of the folders that several commands use.
readonly PLAIN=("${strict[@]}" -Dseams=true)
readonly ASAN=(-Dseams=true -Db_sanitize=address,undefined)

# build NAME TARGET MESON_OPTION...: bring build/NAME up to date. A folder that was made with other options would build
# something else under this name, so it is made anew.
build() {
    local folder=build/$1 target=$2 options
    shift 2
    options="${CC:-} $*"
    if [[ $(cat "$folder/made-with" 2>/dev/null) != "$options" ]]; then
        rm -rf "$folder"
        step "Configuring $folder" meson setup "$folder" "$@" || return
        printf '%s\n' "$options" >"$folder/made-with"
    fi
    step "Building $folder" ninja -C "$folder" "$target"
}

# The distribution's package of the interpreter's own tests, which bears its version.
set_up_testsuite() {
    local version
    version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])') || return
    set_up "libpython$version-testsuite=python:test.test_asyncio"
}

# What builds the Python package, from PyPI.
readonly PACKAGING=(meson-python meson ninja)

# make_venv PYTHON FOLDER PACKAGE...
make_venv() {
    local python=$1 folder=$2
    shift 2
    rm -rf "$folder" "$folder-build" &&
        "$python" -m venv "$folder" &&
        "$folder/bin/pip" install --disable-pip-version-check "${PACKAGING[@]}" "$@"
}

# install_iora FOLDER: this tree's package, into the environment.
install_iora() {
    PATH=$PWD/$1/bin:$PATH "$1/bin/pip" install --disable-pip-version-check --no-build-isolation --no-deps \
        --config-settings=build-dir="$1-build" .
}

# python_venv PYTHON FOLDER PACKAGE...: bring an environment for Python up to date, with these packages and iora.
python_venv() {
    local folder=$2 wanted
    wanted="$("$1" --version) ${*:3}"
    if [[ $(cat "$folder/wanted" 2>/dev/null) != "$wanted" ]]; then
        step "Making $folder" make_venv "$@" || return
        printf '%s\n' "$wanted" >"$folder/wanted"
    fi
    step "Installing iora in $folder" install_iora "$folder"
}

# What PyPI has none of for this Python and machine is done without: whoever wants it tells that it is missing.
try_to_install() {
    local package
    for package in "${@:2}"; do
        "$1/bin/python" -c "import ${package//-/_}" 2>/dev/null ||
            "$1/bin/pip" install --disable-pip-version-check --only-binary :all: "$package" || :
    done
}

# install_what_fits FOLDER PACKAGE...
install_what_fits() { step "Installing ${*:2} in $1" try_to_install "$@"; }
