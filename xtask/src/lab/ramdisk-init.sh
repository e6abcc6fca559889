#!/bin/sh
# The first program of all in dom0: mounts the root by its label and goes on there. Debian's own would start udev for that.
export PATH=/usr/sbin:/usr/bin
mkdir -p /dev /proc /sys /root
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
# shellcheck disable=SC2013 # a file of words
for module in $(cat /lab-modules); do modprobe "$module"; done
tries=0
until mount -t ext4 "$(blkid -L lab-root)" /root; do
    tries=$((tries + 1))
    [ "$tries" -le 200 ] || { echo "lab: no disk labelled lab-root"; echo o >/proc/sysrq-trigger; }
    sleep 0.1
done
mount -o move /dev /root/dev
umount /sys
umount /proc
exec run-init /root /lab-init <"/root/dev/console" >"/root/dev/console" 2>&1
