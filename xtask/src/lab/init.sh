#!/bin/sh
# dom0 in the lab, from its kernel to the script's exit status.
# Standard output of the script goes to the second serial port; Xen and the kernel talk on the first.
. /lab/session
XEN_BIN=/usr/lib/xen-$LAB_XEN/bin
PORT=/dev/ttyS1

mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /run/lock /dev/pts /dev/shm /run/xen /run/xenstored /var/log/xen/console /root
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t xenfs xenfs /proc/xen
# udev makes these on a host; the scripts of xl's disks wait for ever without.
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
ip link set lo up
stty -F $PORT raw -echo 115200
for module in xen-evtchn xen-gntdev xen-gntalloc xen-blkback loop; do modprobe $module; done
mkdir -p /out
mount LABEL=lab-out /out

# The xenstored that was asked for, and nothing that a host would not run.
"$XEN_BIN/$LAB_XENSTORED" --pid-file /run/xenstored.pid
"$XEN_BIN/xen-init-dom0"
"$XEN_BIN/xenconsoled" --log=all --log-dir=/var/log/xen/console

cp -a /lab/bin/. /usr/local/bin/
# After a reboot it is there.
if [ -d /lab/image ] && [ ! -d "/usr/lib/stubctl/image/$LAB_XEN" ]; then
    mkdir -p "/usr/lib/stubctl/image"
    cp -a /lab/image "/usr/lib/stubctl/image/$LAB_XEN"
fi
echo "lab: dom0 is up" >$PORT

# A deadline of 0 is none.
# A log is written, whatever the serial port says it is.
TERM=dumb NO_COLOR=1 timeout -k 10 "$LAB_DEADLINE" sh /lab/script >$PORT 2>&1 </dev/null
status=$?
[ $status -ne 124 ] || echo "lab: the script was ended at its deadline of $LAB_DEADLINE s" >$PORT

cp -a /var/log/xen /out/ 2>/dev/null
[ ! -d /var/log/stubctl ] || cp -a /var/log/stubctl /out/
dmesg >/out/dom0-dmesg.log
"$XEN_BIN/xl" dmesg >/out/xen-dmesg.log 2>/dev/null
"$XEN_BIN/xl" list >/out/xl-list.log 2>&1
umount /out
sync
printf 'lab-exit %d\n' $status >$PORT
echo o >/proc/sysrq-trigger
sleep 60
