# Runs every test of every binary in a process of its own, so that none can spoil another; FILTER chooses by name. Then,
# page by page, the commands that the documentation shows.
passed=0 failed=0
export RUST_BACKTRACE=1
limit=600
[ -z "$THOROUGH" ] || limit=20000

# Tells how a test went: its name, its exit status; its output is in /run/test.log.
tell() {
    took=$(awk "BEGIN { print ($(date +%s%N) - $start) / 1e9 }")
    if [ "$2" -eq 0 ]; then
        passed=$((passed + 1))
        printf 'test %s ... ok (%.1f s)\n' "$1" "$took"
        grep -a '^(XEN)\|^(d[0-9]\|^figure:' /run/test.log | sed 's/^/     /'
    else
        failed=$((failed + 1))
        printf 'test %s ... FAILED with status %d (%.1f s)\n' "$1" "$2" "$took"
        sed 's/^/     /' /run/test.log
    fi
}

# Lists a binary's tests.
list() {
    "$1" --list --format terse 2>/dev/null | sed -n 's/: test$//p'
}

# Runs one of them.
run() {
    start=$(date +%s%N)
    timeout -k 5 $limit "$1" --exact "$2" --nocapture >/run/test.log 2>&1
    tell "${1##*/}::$2" $?
}

# Runs the tests of one half of those that need a reboot in their middle.
half() {
    for name in $(list $DOM0); do
        case "$name" in reboot::"$1"::*) run $DOM0 "$name" ;; esac
    done
}

finish() {
    echo "$passed passed, $failed failed"
    [ $failed -eq 0 ] && [ $passed -gt 0 ]
    exit
}

DOM0=/lab/put/tests/dom0
# What the tests before the reboot came to; the boot after it begins here as well.
COUNTS=/root/counts
if [ -e $COUNTS ]; then
    # shellcheck disable=SC1090 # written by this script before the reboot
    . $COUNTS
    half after
    finish
fi

for binary in /lab/put/tests/*; do
    for name in $(list "$binary"); do
        case "$name" in reboot::*) continue ;; *"$FILTER"*) run "$binary" "$name" ;; esac
    done
done

# Fails if the page left pairs behind, and takes them away for the next one.
leftovers() {
    pairs=$(stubctl list | awk 'NR > 1 { print $1 }')
    for pair in $pairs; do
        echo "the page leaves the guest $pair behind"
        stubctl destroy "$pair"
    done >>/run/test.log
    [ -z "$pairs" ]
}

while read -r page; do
    start=$(date +%s%N)
    timeout -k 5 900 bash "/lab/put/docs/$page.sh" >/run/test.log 2>&1 </dev/null
    status=$?
    [ $status -ne 0 ] || [ "$(tail -n 1 /run/test.log)" = "docs: the page is done" ] || status=125
    leftovers || [ $status -ne 0 ] || status=126
    tell "docs::$page" $status
done </lab/put/docs/pages

# The last tests ruin dom0: their second half runs when it was booted again.
case "$(list $DOM0 | grep '^reboot::' | tr '\n' ' ')" in
*"$FILTER"*)
    half before
    printf 'passed=%d failed=%d\n' "$passed" "$failed" >$COUNTS
    sync
    echo b >/proc/sysrq-trigger
    sleep 60
    exit 1
    ;;
esac
finish
