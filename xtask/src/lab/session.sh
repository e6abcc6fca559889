# What everything that runs in dom0 finds in its environment; read by the init and by each `dom0 exec`.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8
set -a
. /lab/env
set +a
PATH=$PATH:/usr/lib/xen-$LAB_XEN/bin
cd /root || exit
