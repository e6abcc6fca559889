# A dom0 that stays: lets people in by ssh, until it is told to end.
KEYS=/lab/put/.ssh
echo dom0 >/proc/sys/kernel/hostname
modprobe e1000
for nic in /sys/class/net/e*; do
    ip address add 10.0.2.15/24 dev "${nic##*/}"
    ip link set "${nic##*/}" up
done
mkdir -p /run/lab /root/.ssh
chmod 700 /root/.ssh
cp $KEYS/authorized_keys /root/.ssh/
dropbearconvert openssh dropbear $KEYS/host /run/lab/host
mkfifo /run/lab/down
dropbear -s -r /run/lab/host -P /run/lab/dropbear.pid
echo "lab: people may come in"
read -r _ </run/lab/down
