# shellcheck shell=bash
# What people see: lines, complaints, and one line that goes on while something takes its time.
#
# Colours, and the line that goes on, are for a terminal. Whatever a step prints is kept in a log below $LOGS.

readonly LOGS=build/log

on_terminal() { [[ -t 1 && ${TERM:-dumb} != dumb ]]; }

bold='' dim='' red='' plain=''
if on_terminal && [[ -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' plain=$'\e[0m'
fi

say() { printf '%s\n' "$*"; }
complain() { printf '%s\n' "${red}run: $*${plain}" >&2; }

# A point in time, and how long ago it was: "12.3 s".
now() { printf '%s' "${EPOCHREALTIME/[.,]/}"; }
since() {
    local us=$(($(now) - $1))
    printf '%d.%d s' $((us / 1000000)) $((us / 100000 % 10))
}

readonly SUMMARY='^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$'

# follow loud|quiet TITLE LOG: keep what comes in the log, and if loud pass it on, all but a test
# runner's summary. A terminal's last line says meanwhile what goes on, and for how long.
follow() {
    local how=$1 title=$2 log=$3 began line part='' news='' status
    began=$(now)
    if on_terminal; then
        shopt -s checkwinsize
        (:) # a child process, after which bash knows COLUMNS
    fi
    : >"$log"
    while :; do
        IFS= read -r -t 1 line
        status=$?
        part+=$line
        if ((status == 0)) || { ((status <= 128)) && [[ -n $part ]]; }; then
            printf '%s\n' "$part" >>"$log"
            if [[ $how == quiet ]]; then
                news=" $part"
            elif [[ ! $part =~ $SUMMARY ]]; then
                on_terminal && printf '\r\e[K'
                printf '%s\n' "$part"
            fi
            part=''
        fi
        ((status > 0 && status <= 128)) && break
        if on_terminal; then
            line="$title ... $(since "$began")$news"
            printf '\r\e[K%s' "${line:0:${COLUMNS:-80}-1}"
        fi
    done
    on_terminal && printf '\r\e[K'
    return 0
}

# step TITLE COMMAND...: one line about something that takes a while. If it fails, what it printed.
step() {
    local title=$1 began log
    shift
    began=$(now)
    log=$LOGS/$(tr -cs 'a-zA-Z0-9\n' - <<<"$title").log
    mkdir -p "$LOGS"
    "$@" 2>&1 </dev/null | follow quiet "$title" "$log"
    local status=${PIPESTATUS[0]}
    if ((status == 0)); then
        say "$title: $(since "$began")"
        return 0
    fi
    tail -n 40 "$log" >&2
    complain "failed: $* (exit status $status; all of it is in $log)"
    return 1
}
