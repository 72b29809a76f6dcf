# shellcheck shell=bash
# ./run demo: the examples one after another, then servers and a crawler under load.

readonly EXAMPLES=build/release/examples
readonly DEMO_PYTHON=build/venv-demo/bin/python
demo_count=0 demo_failed=0 demo_folder=''

# What a program says.
quote() { sed -u 's/^/   | /'; }

demo_title() {
    demo_count=$((demo_count + 1))
    say ''
    say "$bold$demo_count  $1$plain  $dim$2$plain"
}

demo_fails() {
    complain "$*"
    demo_failed=$((demo_failed + 1))
}

# demo_show TITLE SOURCE COMMAND...: run a program and show what it says.
demo_show() {
    local source=$2 status began
    demo_title "$1" "$2"
    shift 2
    began=$(now)
    # By the line, so that what comes later is seen later.
    PYTHONUNBUFFERED=1 stdbuf -oL "$@" 2>&1 </dev/null | quote
    status=${PIPESTATUS[0]}
    say "   $dim$(since "$began")$plain"
    ((status == 0)) || demo_fails "$source failed with exit status $status"
}

demo_program() {
    local program=${1#examples/}
    demo_show "$(sed -n '1s,^/\* \(.*\)\.$,\1,p' "$1")" "$1" "$EXAMPLES/${program%.c}"
}

# End what still runs, and forget the files.
demo_clean_up() {
    local running
    mapfile -t running < <(jobs -rp)
    ((${#running[@]} == 0)) || kill "${running[@]}"
    wait
    [[ -z $demo_folder ]] || rm -rf "$demo_folder"
    demo_folder=''
}

# demo_starts FILE: wait until the process that was started last has written the file, 10 s at most.
demo_starts() {
    local i
    for ((i = 0; i < 200; i++)); do
        [[ ! -s $1 ]] || return 0
        kill -0 $! 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}

# demo_says WHAT EXPECTED FILE: show what came, and see that it is as it should be.
demo_says() {
    local got
    got=$(<"$3")
    quote <<<"$1: $got"
    [[ $got == $2 ]] || demo_fails "expected was: $2"
}

fetch() { curl -sS --max-time 10 "$@" 2>&1; }

demo_web_server() {
    local url server last out=$demo_folder/out
    demo_title "The web server under load" "wrk, 64 connections for 3 s"
    "$EXAMPLES/09_web_server" 0 >"$demo_folder/server" 2>&1 </dev/null &
    server=$!
    if ! demo_starts "$demo_folder/server"; then
        demo_fails "the web server did not start"
        return
    fi
    url=$(head -n 1 "$demo_folder/server")
    fetch "$url" >"$out"
    demo_says "GET /" '{"message":"Hello, World!"}' "$out"
    fetch --data "what is posted" "${url}echo" >"$out"
    demo_says "POST /echo" "what is posted" "$out"
    wrk -t1 -c64 -d3s --latency "$url" >"$out" 2>&1 || demo_fails "wrk failed"
    sed -nE 's/^ +(50|99)%/latency, \1%:/p; s/^ *(.*requests in|Requests\/sec|Socket err|Non-2xx)/\1/p' \
        "$out" | quote
    ! grep -qE 'Socket errors|Non-2xx' "$out" || demo_fails "not every request was answered"

    # It is told to stop while it has something to do.
    fetch "${url}sleep/500" >"$out" &
    last=$!
    sleep 0.2
    kill -INT "$server"
    wait "$last"
    demo_says "GET /sleep/500, and SIGINT meanwhile" "Good morning!" "$out"
    wait "$server" || demo_fails "the web server ended with exit status $?"
    sed 1d "$demo_folder/server" >"$out"
    demo_says "the server" "stopped, after * requests" "$out"
}

# Write the N pages of a site, 0.html and so on. From the first one all are reached.
demo_site() {
    local n=$1 i j text=''
    mkdir "$demo_folder/site"
    for ((i = 0; i < 40; i++)); do
        text+='<p>Nothing is in these pages but the ways to others.</p>'$'\n'
    done
    for ((i = 0; i < n; i++)); do
        printf '<title>Page %d of %d</title>\n%s' "$i" "$n" "$text" >"$demo_folder/site/$i.html"
        for j in 1 2 3; do
            printf '<a href="%d.html">on</a>\n' $(((3 * i + j) % n))
        done >>"$demo_folder/site/$i.html"
    done
}

# Start an nginx of our own, and set `port`. It cannot choose a free one itself: so try some.
demo_nginx() {
    local i folder
    for i in body proxy fastcgi uwsgi scgi; do
        folder+="${i/body/client_body}_temp_path $demo_folder/$i; "
    done
    for ((i = 0; i < 10; i++)); do
        port=$((20000 + RANDOM % 12000)) # below those that the kernel gives to clients
        cat >"$demo_folder/nginx.conf" <<EOF
daemon off;
worker_processes 1;
pid $demo_folder/nginx.pid;
lock_file $demo_folder/nginx.lock;
error_log stderr;
events {}
http {
    access_log off;
    default_type text/html;
    $folder
    server {
        listen 127.0.0.1:$port;
        root $demo_folder/site;
    }
}
EOF
        PATH=$PATH:/usr/sbin nginx -p "$demo_folder" -e stderr -c "$demo_folder/nginx.conf" \
            >"$demo_folder/nginx.log" 2>&1 </dev/null &
        ! demo_starts "$demo_folder/nginx.pid" || return 0
    done
    quote <"$demo_folder/nginx.log"
    return 1
}

demo_crawler() {
    local how port pages=200 out=$demo_folder/out
    demo_title "The crawler and nginx" "$pages pages, 20 at a time and one after another"
    demo_site "$pages"
    if ! demo_nginx; then
        demo_fails "nginx did not start"
        return
    fi
    for how in --jobs=20 --sequential; do
        # Its standard error stays the terminal, if it is one: there it shows how far it is.
        "$EXAMPLES/08_crawler" ${how/=/ } "http://127.0.0.1:$port/0.html" </dev/null >"$out" ||
            demo_fails "the crawler ended with exit status $?"
        demo_says "${how/=/ }" "$pages pages, * 0 failed, *" "$out"
    done
    say "   ${dim}On this machine no page keeps anybody waiting: the crawler's own site (above) does.$plain"
}

demo_python() {
    local source
    for source in examples/python/[0-9]*.py; do
        demo_show "$(sed -n '1s,^"""\(.*\)\."""$,\1,p' "$source")" "$source" "$DEMO_PYTHON" -m iora "$source"
    done
    demo_show "A web server of aiohttp's, on three event loops" examples/python/web/hello.py \
        "$DEMO_PYTHON" examples/python/web/compare.py
}

demo() {
    if (($# > 0)); then
        complain "demo takes no arguments"
        exit 2
    fi
    set_up "${BUILD_PACKAGES[@]}" "${GUEST_PACKAGES[@]}" "${PYTHON_PACKAGES[@]}" "${DEMO_PACKAGES[@]}"
    build release all --buildtype=release -Dseams=false || exit 1
    python_venv python3 build/venv-demo || exit 1
    install_what_fits build/venv-demo aiohttp uvloop # a rival that is not there is told by the demo

    local source all_began
    all_began=$(now)
    for source in examples/[0-9]*.c examples/guests/[0-9]*.c; do
        demo_program "$source"
    done

    trap demo_clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    demo_folder=$(mktemp -d) || exit 1
    chmod 755 "$demo_folder" # where nginx is started by root its worker is another user
    demo_web_server
    demo_crawler
    demo_python
    demo_clean_up

    say ''
    say "$demo_count shown, $demo_failed failed, $(since "$all_began")"
    ((demo_failed == 0))
}
