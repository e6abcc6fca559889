# The demo in dom0: one pair from its config to its end, and what dom0 looks like before and after.
XEN_BIN=/usr/lib/xen-$LAB_XEN/bin

# What runs beside shells and the tools of this very count, which come and go while it counts.
programs() {
    for process in /proc/[0-9]*; do readlink "$process/exe"; done 2>/dev/null |
        grep -cvE '/(dash|bash|sh|grep|readlink|timeout|sleep|cat)$'
}

look() {
    echo "domains $("$XEN_BIN/xl" list | tail -n +2 | wc -l)"
    echo "free-MiB $("$XEN_BIN/xl" info free_memory)"
    echo "loop-devices $(grep -l . /sys/block/loop*/loop/backing_file 2>/dev/null | wc -l)"
    echo "kernel-backends $(ls /sys/bus/xen-backend/devices | wc -l)"
    echo "programs $(programs)"
    echo "qemu-processes $(ps -e -o args= | grep -c '[q]emu')"
    echo "records $(ls /var/lib/stubctl/*.json 2>/dev/null | wc -l)"
}

cat >/root/demo.cfg <<'CFG'
name = "demo"
type = "hvm"
memory = 128
vga = "none"
hdtype = "ahci"
boot = "c"
disk = [ "/lab/put/guest.img,raw,xvda,rw" ]
CFG

log=/var/log/xen/console/guest-demo.log

# Prints the guest's console as it grows, until its PID 1 has said how it went; fails if the guest dies before.
follow() {
    shown=0
    while :; do
        touch $log
        done=$(grep -c 'guest-init: boot \|guest-init: failed' $log)
        lines=$(wc -l <$log)
        head -n "$lines" $log | tail -n +$((shown + 1))
        shown=$lines
        [ "$done" -eq 0 ] || return 0
        case $(stubctl list | awk '$1 == "demo" { print $2 }') in running) ;; *) return 1 ;; esac
        sleep 0.5
    done
}

look >/run/before
echo "@@ the config"
cat /root/demo.cfg
echo "@@ stubctl create --timings demo.cfg"
stubctl create --timings /root/demo.cfg || exit
echo "@@ the guest's own console"
if ! follow; then
    # One in about fifty guests: QEMU's emulation of SVM returns into the guest with Xen's own registers
    # (lab/xen-console.log has the dump). No fault of the pair, and none on real hardware.
    echo "(the emulated CPU lost the guest: once more)"
    stubctl destroy demo && rm -f $log && stubctl create /root/demo.cfg && follow || exit 1
fi
grep -q 'guest-init: boot ' $log || { echo "the guest did not get that far"; exit 1; }
echo "@@ stubctl list"
stubctl list
echo "@@ while it runs"
echo "qemu processes in dom0: $(ps -e -o args= | grep -c '[q]emu')"
echo "rootfs of the stubdom: $(for d in /sys/bus/xen-backend/devices/vbd-*; do [ "$(cat $d/mode)" = r ] && echo "$d, mode r, block device $(cat $d/physical_device)"; done)"
echo "@@ stubctl destroy demo"
stubctl destroy demo || exit
look >/run/after
echo "@@ before and after"
# A program of the boot itself may have ended meanwhile.
paste -d ' ' /run/before /run/after | awk '{
    verdict = $2 == $4 ? "same" : $1 == "programs" && $4 < $2 ? "fewer" : "DIFFERENT"
    printf "%-16s %6s %6s %s\n", $1, $2, $4, verdict
    if (verdict == "DIFFERENT") bad = 1
} END { exit bad }'
