#!/bin/sh
# Puts the lab's own init into Debian's ramdisk, while that is made.
[ "$1" != prereqs ] || exit 0
cp -p /etc/initramfs-tools/lab/init "${DESTDIR:?}/lab-ramdisk"
cp -p /usr/share/initramfs-tools/modules.d/lab "$DESTDIR/lab-modules"
