#!/bin/sh
# box.sh CMD...: a private mail host in net, mount, pid, uts and ipc namespaces of its own. Everything in it (daemons,
# links, mounts, /run/netns names) is gone when this process dies, even by SIGKILL. Inside: the server is the box itself
# (192.0.2.1, 2001:db8::1), the clients are in the netns "cli" (192.0.2.10 and .11, 2001:db8::10 and ::11).
# $BOX_ETC: a folder whose files are bind-mounted over those of the same name in /etc.
exec unshare --net --mount --pid --uts --ipc --fork --kill-child --mount-proc --propagation private sh -ec '
mount -t tmpfs -o mode=755 tmpfs /run
hostname mx.example.test
for file in "$BOX_ETC"/*; do mount --bind "$file" "/etc/${file##*/}"; done
[ ! -d /var/spool/cron ] || { mount -t tmpfs tmpfs /var/spool/cron; mkdir /var/spool/cron/crontabs; }
# a /dev of its own, for its own /dev/log
mkdir -p /run/dev/pts /run/dev/shm
for node in null zero full random urandom tty; do : > /run/dev/$node; mount --bind /dev/$node /run/dev/$node; done
mount -t devpts -o newinstance,ptmxmode=0666 devpts /run/dev/pts
ln -s pts/ptmx /run/dev/ptmx
ln -s /proc/self/fd /run/dev/fd
mount --rbind /run/dev /dev
ip netns add cli
ip link add veth0 type veth peer name veth1 netns cli
ip addr add 192.0.2.1/24 dev veth0
ip addr add 2001:db8::1/64 dev veth0 nodad
for last in 10 11; do
    ip -n cli addr add 192.0.2.$last/24 dev veth1
    ip -n cli addr add 2001:db8::$last/64 dev veth1 nodad
done
ip link set lo up; ip link set veth0 up; ip -n cli link set lo up; ip -n cli link set veth1 up
exec "$@"' sh "$@"
