#!/bin/sh
# boot.sh ID ROOT LOWER: boot the Debian that lies in the overlay layers LOWER, with systemd as PID 1, at the mount
# point ROOT; changes go to a tmpfs, or to $UPPER and $WORK if they are set. It comes up again after a reboot, and all
# of it is gone when this process dies, even by SIGKILL. The network namespace out here is the clients'.
# Its own cgroup, popips-ID, is what the caller removes. Prints "pid N", of systemd-nspawn, at each boot.
export id="$1" root="$2" lower="$3"
exec unshare --net --mount --pid --uts --ipc --fork --kill-child --mount-proc --propagation private sh -euc '
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/changes "$root"
if [ -z "${UPPER-}" ]; then
    mount -t tmpfs -o mode=755 tmpfs /run/changes
    UPPER=/run/changes/upper WORK=/run/changes/work
fi
mkdir -p "$UPPER" "$WORK"
mount -t overlay -o "lowerdir=$lower,upperdir=$UPPER,workdir=$WORK" overlay "$root"
# only cgroup2, whatever the machine has: nspawn would make folders in each hierarchy that it finds
mountpoint -q /sys || mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/popips-$id"
echo 0 > "/sys/fs/cgroup/popips-$id/cgroup.procs"
ip link set lo up
status=133
while [ "$status" = 133 ]; do # that is how nspawn ends when its host wants to reboot
    status=0
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --directory="$root" --boot --private-network \
        --register=no --keep-unit --console=pipe --hostname=mx.example.test </dev/null &
    echo "pid $!"
    wait $! || status=$?
done
exit "$status"'
