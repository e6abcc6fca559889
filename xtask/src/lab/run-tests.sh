# Runs every test of every binary in a process of its own, so that none can spoil another; FILTER chooses by name. Then,
# page by page, the commands that the documentation shows.
passed=0 failed=0 again=0
export RUST_BACKTRACE=1
limit=600
XEN_LOG=/var/log/xen/console/hypervisor.log
[ -z "$THOROUGH" ] || limit=20000

# Runs a command with its output in /run/test.log; gives its status.
try() {
    start=$(date +%s%N) said=$(stat -c %s $XEN_LOG)
    "$@" >/run/test.log 2>&1 </dev/null
}

# What Xen and the guests said since; Xen's long answers to the probe's questions apart.
xen_said() {
    tail -c +$((said + 1)) $XEN_LOG | grep -a '^(d[0-9]\|crash\|riple fault\|RIP: \|hutdown\|offline'
}

# Whether the emulator lost a guest: it puts Xen's own registers into the guest's (a triple fault "at" Xen's code segment,
# where one that a guest makes itself shows the guest's), or the guest's firmware finds nonsense, or its vcpu stops for good.
lost_a_guest() {
    xen_said | grep -aq 'RIP: *e008:\|HVMLoader crashed\|all CPUs offline'
}

# Ends the pairs that are there, so that what follows is not spoilt; fails if there were any.
end_pairs() {
    pairs=$(stubctl list | awk 'NR > 1 { print $1 }')
    for pair in $pairs; do
        echo "the guest $pair is left behind"
        stubctl destroy "$pair" 2>&1
    done
    [ -z "$pairs" ]
}

# Runs what its name says, and tells how it went. What failed while the emulator lost a guest is run again, twice at most.
run() {
    name=$1
    shift
    try "$@"
    status=$?
    for _ in 1 2; do
        if [ $status -eq 0 ] || ! lost_a_guest; then break; fi
        echo "test $name ... AGAIN: the emulator lost a guest"
        (cat /run/test.log && xen_said | tail -n 60 && end_pairs) | sed 's/^/     /'
        again=$((again + 1))
        try "$@"
        status=$?
    done
    took=$(awk "BEGIN { print ($(date +%s%N) - $start) / 1e9 }")
    if [ $status -eq 0 ]; then
        passed=$((passed + 1))
        printf 'test %s ... ok (%.1f s)\n' "$name" "$took"
        grep -a '^(XEN)\|^(d[0-9]\|^figure:' /run/test.log | sed 's/^/     /'
    else
        failed=$((failed + 1))
        printf 'test %s ... FAILED with status %d (%.1f s)\n' "$name" "$status" "$took"
        (cat /run/test.log && xen_said | tail -n 60 && end_pairs) | sed 's/^/     /'
    fi
}

# Lists a binary's tests.
list() {
    "$1" --list --format terse 2>/dev/null | sed -n 's/: test$//p'
}

# Runs one of them, in a process of its own.
one() {
    run "${1##*/}::$2" timeout -k 5 $limit "$1" --exact "$2" --nocapture
}

# Runs the tests of one half of those that need a reboot in their middle.
half() {
    for name in $(list $DOM0); do
        case "$name" in reboot::"$1"::*) one $DOM0 "$name" ;; esac
    done
}

finish() {
    echo "$passed passed, $failed failed, $again run again because the emulator lost a guest"
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
        case "$name" in reboot::*) continue ;; *"$FILTER"*) one "$binary" "$name" ;; esac
    done
done

# Does what a page says; it must come to its end, and leave no pair behind.
# shellcheck disable=SC2317 # called by its name
page() {
    timeout -k 5 900 bash "/lab/put/docs/$1.sh" >/run/page.log 2>&1
    result=$?
    cat /run/page.log
    [ "$(tail -n 1 /run/page.log)" = "docs: the page is done" ] || [ "$result" -ne 0 ] || result=125
    end_pairs || [ "$result" -ne 0 ] || result=126
    return "$result"
}

while read -r page; do
    run "docs::$page" page "$page"
done </lab/put/docs/pages

# The last tests ruin dom0: their second half runs when it was booted again.
case "$(list $DOM0 | grep '^reboot::' | tr '\n' ' ')" in
*"$FILTER"*)
    half before
    printf 'passed=%d failed=%d again=%d\n' "$passed" "$failed" "$again" >$COUNTS
    sync
    echo b >/proc/sysrq-trigger
    sleep 60
    exit 1
    ;;
esac
finish
