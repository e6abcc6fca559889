# Runs every test of every binary in a process of its own, so that none can spoil another; FILTER chooses by name.
passed=0 failed=0
export RUST_BACKTRACE=1
for binary in /lab/put/tests/*; do
    for name in $("$binary" --list --format terse 2>/dev/null | sed -n 's/: test$//p'); do
        case "$name" in *"$FILTER"*) ;; *) continue ;; esac
        start=$(date +%s%N)
        timeout -k 5 600 "$binary" --exact "$name" --nocapture >/run/test.log 2>&1
        status=$?
        took=$(awk "BEGIN { print ($(date +%s%N) - $start) / 1e9 }")
        if [ $status -eq 0 ]; then
            passed=$((passed + 1))
            printf 'test %s::%s ... ok (%.1f s)\n' "${binary##*/}" "$name" "$took"
            grep -a '^(XEN)\|^(d[0-9]\|^figure:' /run/test.log | sed 's/^/     /'
        else
            failed=$((failed + 1))
            printf 'test %s::%s ... FAILED with status %d (%.1f s)\n' "${binary##*/}" "$name" "$status" "$took"
            sed 's/^/     /' /run/test.log
        fi
    done
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
