#!/bin/sh
# dom0's first process in the lab: finds the disk that came with this boot and goes on there.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
tries=0
until mount LABEL=lab-put /lab 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -le 200 ] || { echo "lab: no disk labelled lab-put"; echo o >/proc/sysrq-trigger; }
    sleep 0.1
done
exec /lab/init
