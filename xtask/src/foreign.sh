# Enters a root to build in: foreign ROOT TOOLCHAIN CARGO_HOME WORKSPACE PROGRAM ARGUMENT...
root=$1 workspace=$4
# A root is a mount point: `unshare` and others count on it.
mount --bind "$root" "$root"
mount -t tmpfs tmpfs "$root/tmp"
for path in /dev /proc /sys "$2" "$3" "$4"; do
    mkdir -p "$root$path"
    mount --rbind "$path" "$root$path"
done
export PATH="$2/bin:/usr/sbin:/usr/bin:/sbin:/bin" TMPDIR=/tmp
shift 4
# shellcheck disable=SC2016 # the inner shell's
exec chroot "$root" sh -ec 'cd "$0" && exec "$@"' "$workspace" "$@"
