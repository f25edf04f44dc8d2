#!/usr/bin/env bash
# lab.sh - throw-away hosts, each with a real systemd as PID 1, on a Linux machine whose own PID 1 need not be systemd.
# Neither a virtual machine nor a container engine: unshare, overlayfs, a cgroup sub-tree of our own, a network of their own.
# Package lab calls it; it works by hand too, as root, with LAB_DIR and LAB_CACHE set:
#
#   lab.sh build                     make the base root, which is cached; `up` does it too
#   lab.sh up NAME [IP[/LEN]]        boot a host, the first time with a new disk, and wait for running or degraded
#   lab.sh exec NAME CMD...          run CMD inside as root; exit code and stdio pass through
#   lab.sh copy SRC NAME:/DST        copy a file or a folder in ...
#   lab.sh copy NAME:/SRC DST        ... or out
#   lab.sh reboot NAME               clean reboot, same disk; `systemctl reboot` inside does it too
#   lab.sh stop NAME                 clean power-off, disk kept; `up NAME` boots it again
#   lab.sh kill9 NAME                SIGKILL to everything in it at once, what was written stays; `up NAME` again
#   lab.sh powercut NAME             the same, and what was not synced is LOST, as in a real power cut
#   lab.sh down NAME... | --all      kill and delete: processes, mounts, cgroups, namespaces, disk
#   lab.sh cut NAME / mend NAME      pull / plug NAME's network cable
#   lab.sh netpid                    the PID of a process that is in the network of all hosts
#   lab.sh keep                      wait for the end of stdin, then `down --all` and delete LAB_DIR
#
# Environment:
#   LAB_DIR        state; two folders never collide, whatever the hosts in them are called
#   LAB_CACHE      the base root's cache, shared by all
#   LAB_PACKAGES   more Debian packages for the base root
#   LAB_TIMEOUT    seconds to wait for a boot or a shutdown (default 120)
#
# Limits: where the machine holds the memory controller on cgroup v1, hosts are hybrid: MemoryMax, TasksMax and CPUQuota
# work, but MemoryHigh and Result=oom-kill do not. Hosts lack CAP_SYS_RESOURCE where the machine does. No udev.
set -euo pipefail
umask 022
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

SELF=$(readlink -f "${BASH_SOURCE[0]}")
DIR=${LAB_DIR:?}
CACHE=${LAB_CACHE:?}
TIMEOUT=${LAB_TIMEOUT:-120}
DISK_SIZE=4G # a sparse ext4 image
PACKAGES="systemd systemd-sysv dbus libnss-systemd passwd procps iproute2 iputils-ping ${LAB_PACKAGES:-}"
RECIPE=1 # raise it when the way the base root is made changes
# What a host must not do to the machine under it.
DROP_CAPS=-sys_module,-sys_rawio,-sys_time,-syslog,-audit_control,-audit_read,-mac_admin,-mac_override,-wake_alarm,-block_suspend
# cgroup v1 controllers that systemd uses; only these are handed to a host (hybrid layout)
V1_WANTED='name=systemd memory pids cpu cpuacct blkio devices'

die() {
	echo "lab: $*" >&2
	exit 1
}
say() { echo "lab: $*" >&2; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }

# ---- what the machine must have ---------------------------------------------------------------------------
prerequisites() {
	local tool
	[ "$(id -u)" = 0 ] || die "only root can boot hosts"
	for tool in ip:iproute2 unshare:util-linux nsenter:util-linux setpriv:util-linux losetup:mount mount:mount mkfs.ext4:e2fsprogs \
		perl:perl-base tar:tar flock:util-linux setsid:util-linux apt-get:apt dpkg-deb:dpkg cksum:coreutils find:findutils awk:mawk; do
		command -v "${tool%:*}" >/dev/null || die "${tool%:*} is missing: apt-get install ${tool#*:}"
	done
	unshare --help | grep -q -e --monotonic || die "unshare is too old for time namespaces: util-linux 2.36 or newer is needed"
	[ -e /dev/loop-control ] || die "this machine has no loop devices, on which the hosts' disks are: modprobe loop"
	grep -q ' - cgroup2 ' /proc/self/mountinfo || die "cgroup2 is not mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified"
}

# ---- processes: files of "pid namespaces", so that a reused pid is never taken for ours -------------------
# (not the start time: /proc shows it shifted to readers in a lab's time namespace)
ident() { readlink "/proc/$1/ns/pid" "/proc/$1/ns/net" 2>/dev/null | tr -d '\n'; }
pid_of() { # pid_of FILE -> pid if that very process still lives
	local pid id
	read -r pid id 2>/dev/null <"$1" || return 1
	[ -n "$id" ] && [ "$(ident "$pid")" = "$id" ] && echo "$pid"
}
lab_dir() {
	[[ $1 =~ ^[a-z0-9][a-z0-9-]{0,9}$ && $1 != net ]] || die "bad lab name '$1' (a-z 0-9 -, 10 at most, not 'net')"
	echo "$LABS/$1"
}
leader() { pid_of "$(lab_dir "$1")/leader"; }
supervisor() { pid_of "$(lab_dir "$1")/supervisor"; }
need() { leader "$1" || die "lab $1 is not up"; }

# ---- cgroups: one sub-tree of OUR OWN cgroup per lab and hierarchy --------------------------------------
# prints "CONTROLLERS DIR" for each hierarchy a lab uses; v2 is called "unified"
cgroup_roots() {
	local id ctl path line mp root rest want c
	while IFS=: read -r id ctl path; do
		if [ -z "$ctl" ]; then want=unified; else
			[ "$MODE" = hybrid ] || continue
			want=
			for c in $V1_WANTED; do [[ ",$ctl," == *",$c,"* ]] && want=$ctl; done
			[ -n "$want" ] || continue
		fi
		while read -r line; do
			rest=${line##* - }
			set -- $line
			root=$4
			mp=$5
			set -- $rest
			if { [ "$want" = unified ] && [ "$1" = cgroup2 ]; } ||
				{ [ "$want" != unified ] && [ "$1" = cgroup ] && [[ ",$3," == *",$want,"* ]]; }; then
				[ "$root" = / ] || path=${path#"$root"}
				# on a pure v2 machine only the root may hold both processes and controllers
				[ "$want" = unified ] && [ "$MODE" = unified ] && path=/
				path=${path%/}
				echo "$want $mp$path"
				break
			fi
		done </proc/self/mountinfo
	done </proc/self/cgroup
}
cgroup_mode() {
	MODE=unified
	! grep -q '^[0-9]*:\([^:]*,\)\?memory[,:]' /proc/self/cgroup || MODE=hybrid
}
make_cgroups() { # make_cgroups NAME: writes $lab/cgroups, "CONTROLLERS DIR" lines
	local lab ctl dir c
	lab=$(lab_dir "$1")
	cgroup_roots >"$lab/cgroups.tmp"
	grep -q ^unified "$lab/cgroups.tmp" || die "no cgroup2 is mounted on this machine"
	while read -r ctl dir; do
		mkdir -p "$dir/$CG-$1/payload" "$dir/$CG-$1/supervisor"
		if [ "$ctl" = unified ]; then # hand on whatever v2 controllers there are
			for c in memory pids cpu io; do
				[[ " $(cat "$dir/cgroup.controllers") " == *" $c "* ]] || continue
				echo "+$c" >"$dir/cgroup.subtree_control" || :
				echo "+$c" >"$dir/$CG-$1/cgroup.subtree_control" || :
			done 2>/dev/null
		fi
		echo "$ctl $dir/$CG-$1"
	done <"$lab/cgroups.tmp" >"$lab/cgroups"
	rm -f "$lab/cgroups.tmp"
}
join_cgroups() {
	local ctl dir
	while read -r ctl dir; do echo 0 >"$dir/$2/cgroup.procs"; done <"$(lab_dir "$1")/cgroups"
}
drop_cgroups() { # kill what is left in NAME's cgroups, then remove them
	local lab ctl dir i
	lab=$(lab_dir "$1")
	[ -e "$lab/cgroups" ] || return 0
	while read -r ctl dir; do
		[ "$ctl" = unified ] && [ -e "$dir/cgroup.kill" ] && echo 1 >"$dir/cgroup.kill"
	done <"$lab/cgroups"
	while read -r ctl dir; do
		for ((i = 0; i < 100; i++)); do
			[ -d "$dir" ] || break
			find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || sleep .05
		done
		[ ! -d "$dir" ] || say "cannot remove cgroup $dir"
	done <"$lab/cgroups"
	rm -f "$lab/cgroups"
}

# ---- base root: Debian packages unpacked, not configured by their scripts (5 s instead of 20-60) ---------
base_path() {
	local suite
	suite=$(
		. /etc/os-release
		echo "${VERSION_CODENAME:-unknown}"
	)
	echo "$CACHE/base-$suite-$(dpkg --print-architecture)-$(printf '%s' "$RECIPE $PACKAGES" | cksum | cut -d' ' -f1)"
}
fetch_debs() { # the closure of PACKAGES and all essential ones, from apt's own sources
	: >"$1/status"
	mkdir -p "$1/debs/partial"
	# shellcheck disable=SC2086
	apt-get -qq -y --download-only -o Dir::State::status="$1/status" -o Dir::State::extended_states="$1/ext" \
		-o Dir::Cache::archives="$1/debs" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Debug::NoLocking=true \
		-o APT::Sandbox::User=root -o APT::Install-Recommends=false install '?essential' $PACKAGES >"$1/apt.log" 2>&1
}
unpack_deb() { # unpack_deb ROOT DEB: files, and what dpkg would know about them
	local root=$1 deb=$2 pkg ma arch n
	IFS=$'\t' read -r pkg arch ma < <(dpkg-deb -W --showformat '${Package}\t${Architecture}\t${Multi-Arch}\n' "$deb")
	n=$pkg
	[ "$ma" = same ] && n=$pkg:$arch
	dpkg-deb --fsys-tarfile "$deb" | tar -x -v -p --numeric-owner --keep-directory-symlink -C "$root" \
		--exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' --exclude='./usr/share/doc/*' -f - |
		sed -e 's/^\.//' -e 's/\/$//' -e 's/^$/\/./' >"$root/var/lib/dpkg/info/$n.list"
	dpkg-deb -f "$deb" | sed -e '1a Status: install ok installed' -e '$a\\' >"$root/var/lib/dpkg/status.d-$n"
}
cmd_build() {
	prerequisites
	BASE=$(base_path)
	[ -e "$BASE.ok" ] && return 0
	mkdir -p "$CACHE"
	exec 8>"$CACHE/lock"
	flock 8
	[ -e "$BASE.ok" ] && {
		exec 8>&-
		return 0
	}
	local t0 tmp r d
	t0=$(now_ms)
	tmp=$CACHE/tmp
	rm -rf "$tmp" "$BASE"
	mkdir -p "$tmp"
	r=$tmp/root
	fetch_debs "$tmp" || {
		apt-get -qq update >"$tmp/update.log" 2>&1 || :
		fetch_debs "$tmp"
	} ||
		{
			tail -n 5 "$tmp/apt.log" >&2
			die "apt cannot fetch: $PACKAGES"
		}
	mkdir -p "$r"/usr/{bin,sbin,lib,lib32,lib64,libx32} "$r"/var/lib/dpkg/{info,updates,triggers} "$r"/{proc,sys,dev,run,tmp,mnt}
	for d in bin sbin lib lib64; do ln -s "usr/$d" "$r/$d"; done
	export -f unpack_deb
	printf '%s\0' "$tmp"/debs/*.deb | xargs -0 -n 1 -P "$(nproc)" bash -euo pipefail -c 'unpack_deb "$0" "$1"' "$r"
	cat "$r"/var/lib/dpkg/status.d-* >"$r/var/lib/dpkg/status"
	rm -f "$r"/var/lib/dpkg/status.d-*
	: >"$r/var/lib/dpkg/available"
	# what the packages' scripts would have done, as far as it matters here
	mkdir -p "$r"/usr/local/{bin,sbin,etc,lib,share} "$r"/{home,media,opt,srv} "$r"/var/{local,opt,mail,tmp}
	chmod 1777 "$r/tmp" "$r/var/tmp"
	cp "$r/usr/share/base-passwd/passwd.master" "$r/etc/passwd"
	cp "$r/usr/share/base-passwd/group.master" "$r/etc/group"
	(
		umask 077
		sed 's/:.*/:*:19000:0:99999:7:::/' "$r/etc/passwd" >"$r/etc/shadow"
		sed 's/:.*/:*::/' "$r/etc/group" >"$r/etc/gshadow"
	)
	cp "$r/usr/share/base-files/profile" "$r/etc/profile"
	printf '%s\n' 'passwd: files systemd' 'group: files systemd' 'shadow: files systemd' 'gshadow: files systemd' \
		'hosts: files dns' 'networks: files' 'services: files' 'protocols: files' >"$r/etc/nsswitch.conf"
	printf '%s\n' /bin/sh /bin/bash /bin/dash >"$r/etc/shells"
	for d in auth account password session; do echo "$d required pam_unix.so" >"$r/etc/pam.d/common-$d"; done
	cp "$r/etc/pam.d/common-session" "$r/etc/pam.d/common-session-noninteractive"
	[ -e "$r/usr/bin/awk" ] || ln -s mawk "$r/usr/bin/awk"
	[ -e "$r/bin/sh" ] || ln -s dash "$r/bin/sh"
	rm -rf "$r/var/run" "$r/var/lock"
	ln -s /run "$r/var/run"
	ln -s /run/lock "$r/var/lock"
	: >"$r/etc/fstab"
	: >"$r/etc/resolv.conf"
	: >"$r/etc/machine-id"
	mkdir -p "$r/var/log/journal" "$r/root"
	chmod 700 "$r/root"
	ln -sfn /lib/systemd/system/multi-user.target "$r/etc/systemd/system/default.target"
	unshare --mount --pid --fork --propagation private bash -euc '
    mount -t proc proc "$0/proc"; mount -t tmpfs tmpfs "$0/dev"; mknod -m 666 "$0/dev/null" c 1 3
    chroot "$0" ldconfig; chroot "$0" systemd-sysusers; chroot "$0" systemd-tmpfiles --create --prefix=/var/log/journal || :
  ' "$r" >"$tmp/setup.log" 2>&1 || {
		cat "$tmp/setup.log" >&2
		die "setting up the base root failed"
	}
	touch "$r/etc/.updated" "$r/var/.updated"
	mv "$r" "$BASE"
	touch "$BASE.ok"
	rm -rf "$tmp"
	exec 8>&-
	say "base root built in $(($(now_ms) - t0)) ms ($(du -sm "$BASE" | cut -f1) MB)"
}

# ---- network: a bridge in a namespace of its own; the machine's own network is never touched --------------
ensure_switch() { # ensure_switch IP/LEN
	local pid i
	if ! pid_of "$DIR/switch" >/dev/null; then
		setsid unshare --net bash -c 'echo "$$ $(readlink /proc/$$/ns/pid /proc/$$/ns/net | tr -d "\n")" >"$0.tmp"
      ip link set lo up; ip link add br0 type bridge; ip link set br0 up; mv "$0.tmp" "$0"; exec sleep infinity' \
			"$DIR/switch" </dev/null >/dev/null 2>&1 7>&- 8>&- 9>&- &
		for ((i = 0; i < 100; i++)); do
			pid_of "$DIR/switch" >/dev/null && break
			sleep .02
		done
	fi
	pid=$(pid_of "$DIR/switch") || die "the network switch did not start"
	[ -z "${1:-}" ] || nsenter -t "$pid" -n ip addr replace "${1%.*}.254/${1#*/}" dev br0
}
write_hosts() { # every lab knows every lab by name
	local l ip
	{
		echo "127.0.0.1 localhost"
		for l in "$LABS"/*/ip; do
			[ -e "$l" ] && ip=$(cat "$l") && [ -n "$ip" ] && echo "${ip%/*} $(basename "$(dirname "$l")")"
		done
	} >"$DIR/hosts.tmp.$$"
	mv "$DIR/hosts.tmp.$$" "$DIR/hosts"
}
push_hosts() {
	local l
	for l in "$LABS"/*/; do
		l=$(basename "$l")
		leader "$l" >/dev/null && cmd_exec "$l" sh -c 'cat >/etc/hosts' <"$DIR/hosts" || :
	done
}

# ---- one lab: supervisor (own mount + net namespace) > unshare > PID 1 -----------------------------------
cmd__supervise() {
	local name=$1 lab rc=0 sw ip
	lab=$(lab_dir "$name")
	local a _
	read -r a _ </proc/self/stat
	cgroup_mode
	make_cgroups "$name"
	join_cgroups "$name" supervisor
	mkdir -p "$lab/disk"
	mount -o loop "$lab/disk.img" "$lab/disk"
	mkdir -p "$lab/disk/upper" "$lab/disk/work"
	ip link set lo up
	ip=$(cat "$lab/ip")
	if [ -n "$ip" ]; then
		sw=$(pid_of "$DIR/switch")
		# that of the boot before, whose namespace the kernel takes away in its own time
		nsenter -t "$sw" -n ip link del "ve-$name" 2>/dev/null || :
		# an address of its own for good: the others would send to that of the boot before for up to some minutes
		# shellcheck disable=SC2046
		ip link add eth0 address "$(printf '02:00:%02x:%02x:%02x:%02x' $(tr . ' ' <<<"${ip%/*}"))" type veth peer name "ve-$name" netns "$sw"
		ip addr add "$ip" dev eth0
		ip link set eth0 up
		nsenter -t "$sw" -n ip link set "ve-$name" master br0 up
		ip route add default via "${ip%.*}.254" 2>/dev/null || :
	fi
	echo "$a $(ident "$a")" >"$lab/supervisor"
	while :; do
		rc=0
		local up tn=()
		read -r up _ </proc/uptime
		[ -e /proc/self/ns/time ] && tn=(--time --monotonic="-${up%.*}" --boottime="-${up%.*}")
		unshare --mount --pid --fork --kill-child --uts --ipc --propagation private ${tn[@]+"${tn[@]}"} bash "$SELF" _boot "$name" || rc=$?
		echo "$(date +%T) PID 1 ended: $rc"
		local ctl dir
		while read -r ctl dir; do find "$dir/payload" -mindepth 1 -depth -type d -exec rmdir {} + 2>/dev/null || :; done <"$lab/cgroups"
		[ "$rc" = 129 ] || break # SIGHUP: PID 1 called reboot(RESTART); SIGINT: power-off; KILL: kill9
	done
}
cmd__boot() { # already PID 1 of the new namespace
	local a _
	read -r a _ </proc/self/stat # the machine's /proc is still here, so this is the machine's pid
	join_cgroups "$1" payload
	exec unshare --cgroup bash "$SELF" _boot2 "$1" "$a $(ident "$a")"
}
cmd__boot2() {
	local name=$1 lab r ctl dir n d
	lab=$(lab_dir "$name")
	r=$lab/root
	cgroup_mode
	mkdir -p "$r"
	mount -t overlay overlay -o "lowerdir=$(cat "$lab/base"),upperdir=$lab/disk/upper,workdir=$lab/disk/work" "$r"
	mount -t proc -o nosuid,nodev,noexec proc "$r/proc"
	mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$r/sys"
	mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs "$r/run"
	mount -t tmpfs -o nosuid,mode=755 tmpfs "$r/dev"
	for d in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
		IFS=: read -r n a b <<<"$d"
		mknod -m 666 "$r/dev/$n" c "$a" "$b"
	done
	mkdir "$r/dev/pts" "$r/dev/shm"
	ln -s pts/ptmx "$r/dev/ptmx"
	ln -s /proc/self/fd "$r/dev/fd"
	for d in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${d%:*}" "$r/dev/${d#*:}"; done
	mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$r/dev/pts"
	mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs "$r/dev/shm"
	# a new boot id; the rest of the machine's kernel settings read-only (its network settings are the lab's own)
	cat /proc/sys/kernel/random/uuid >"$r/run/.boot_id"
	mount --bind "$r/proc/sys" "$r/proc/sys"
	mount --bind "$r/proc/sys/net" "$r/proc/sys/net"
	mount --bind "$r/run/.boot_id" "$r/proc/sys/kernel/random/boot_id"
	mount -o remount,bind,ro "$r/proc/sys/kernel/random/boot_id"
	mount -o remount,bind,ro "$r/proc/sys"
	rm "$r/run/.boot_id"
	for d in sysrq-trigger kmsg kcore; do [ ! -e "$r/proc/$d" ] || mount --bind "$r/dev/null" "$r/proc/$d"; done
	if [ "$MODE" = unified ]; then mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$r/sys/fs/cgroup"; else
		mount -t tmpfs -o nosuid,nodev,noexec,mode=755 tmpfs "$r/sys/fs/cgroup"
		while read -r ctl dir; do
			d=$r/sys/fs/cgroup/${ctl#name=}
			mkdir "$d"
			case $ctl in
			unified) mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$d" ;;
			name=*) mount -t cgroup -o "nosuid,nodev,noexec,none,$ctl" cgroup "$d" ;;
			*)
				mount -t cgroup -o "nosuid,nodev,noexec,$ctl" cgroup "$d"
				[[ $ctl != *,* ]] || for n in ${ctl//,/ }; do ln -s "$ctl" "$r/sys/fs/cgroup/$n"; done
				;;
			esac
		done <"$lab/cgroups"
		mount -o remount,ro,nosuid,nodev,noexec,mode=755 "$r/sys/fs/cgroup"
	fi
	[ -s "$r/etc/machine-id" ] || tr -d - </proc/sys/kernel/random/uuid >"$r/etc/machine-id"
	[ -e "$r/etc/hostname" ] && [ "$(cat "$r/etc/hostname")" = "$name" ] || echo "$name" >"$r/etc/hostname"
	cp "$DIR/hosts" "$r/etc/hosts"
	echo "$2" >"$lab/leader.tmp"
	echo "$(($(cat "$lab/boots") + 1))" >"$lab/boots.tmp"
	mv "$lab/leader.tmp" "$lab/leader"
	mv "$lab/boots.tmp" "$lab/boots"
	cd "$r"
	pivot_root . .
	umount -l .
	cd /
	mount --make-rshared / # systemd leaves this to its container manager; LoadCredential= needs it
	exec env -i container=lab PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
		setpriv --bounding-set "$DROP_CAPS" --inh-caps "$DROP_CAPS" /lib/systemd/systemd </dev/null
}
wait_ready() { # wait_ready NAME BOOT: until boot number BOOT has ended well
	local name=$1 boot=$2 lab t0 st=none
	lab=$(lab_dir "$name")
	t0=$(now_ms)
	while (($(now_ms) - t0 < TIMEOUT * 1000)); do
		if [ "$(cat "$lab/boots")" -ge "$boot" ] && leader "$name" >/dev/null; then
			st=$(timeout "$TIMEOUT" bash "$SELF" exec "$name" systemctl is-system-running --wait 2>/dev/null) || :
			case $st in running | degraded)
				echo "$name $st boot=$(cat "$lab/boots") $(($(now_ms) - t0)) ms"
				return 0
				;;
			esac
		elif ! supervisor "$name" >/dev/null && [ -z "$(ident "${SUP:-none}")" ]; then
			st=died
			break
		fi
		sleep .05
	done
	tail -n 20 "$lab/log" >&2
	die "lab $name did not come up ($st)"
}
wait_gone() { # wait_gone NAME: supervisor ended and disk released
	local lab t0
	lab=$(lab_dir "$1")
	t0=$(now_ms)
	while supervisor "$1" >/dev/null || { [ -e "$lab/disk.img" ] && [ -n "$(losetup -j "$lab/disk.img" 2>/dev/null)" ]; }; do
		(($(now_ms) - t0 < TIMEOUT * 1000)) || return 1
		sleep .02
	done
}
halt_lab() { # everything of NAME's but its disk is gone after this
	drop_cgroups "$1"
	wait_gone "$1" || say "lab $1: something still holds its disk"
	rm -f "$(lab_dir "$1")"/{leader,supervisor}
}

# ---- commands ------------------------------------------------------------------------------------------------
cmd_up() {
	[ $# -ge 1 ] && [ $# -le 2 ] || die "usage: up NAME [IP[/LEN]]"
	local name=$1 ip=${2:-} lab boots
	lab=$(lab_dir "$name")
	cgroup_mode
	cmd_build
	exec 7>>"$DIR/busy"
	flock -s 7 # held until the host is up, or not; see keep
	[ ! -e "$DIR/closed" ] || die "no host is booted any more"
	exec 9>"$DIR/lock"
	flock 9
	mkdir -p "$lab" # not before: `down` of the last host removes the folder of all
	! supervisor "$name" >/dev/null || die "lab $name is up already"
	[ -z "$ip" ] || [[ $ip == */* ]] || ip=$ip/24
	[ -n "$ip" ] || ip=$(cat "$lab/ip" 2>/dev/null || :)
	echo "$ip" >"$lab/ip"
	[ -e "$lab/boots" ] || echo 0 >"$lab/boots"
	boots=$(cat "$lab/boots")
	[ -e "$lab/base" ] || echo "$BASE" >"$lab/base"
	halt_lab "$name"
	write_hosts
	ensure_switch "$ip"
	exec 9>&-
	if [ ! -e "$lab/disk.img" ]; then
		truncate -s "$DISK_SIZE" "$lab/disk.img.tmp"
		mkfs.ext4 -q -F -m 0 -E assume_storage_prezeroed=1 "$lab/disk.img.tmp" 2>/dev/null || mkfs.ext4 -q -F -m 0 "$lab/disk.img.tmp"
		mv "$lab/disk.img.tmp" "$lab/disk.img"
	fi
	LAB_DIR=$DIR LAB_CACHE=$CACHE setsid unshare --mount --net --propagation private \
		bash "$SELF" _supervise "$name" </dev/null >>"$lab/log" 2>&1 7>&- 8>&- 9>&- &
	SUP=$!
	wait_ready "$name" "$((boots + 1))"
	push_hosts
}
cmd_exec() { (exec_in "$@"); }
# The shell between (nsenter -F, so it stays outside the lab's PID namespace, its child is inside) is a plain waiter:
# nsenter's own waiting copies a SIGSTOP of its child, as systemd-shutdown sends, and then never reaps it.
exec_in() {
	[ $# -ge 2 ] || die "usage: exec NAME CMD..."
	local name=$1 pid ctl dir t=()
	pid=$(need "$name")
	shift
	[ ! -e /proc/self/ns/time ] || t=(-T)
	while read -r ctl dir; do
		mkdir -p "$dir/payload/lab-exec"
		echo "$BASHPID" >"$dir/payload/lab-exec/cgroup.procs"
	done <"$LABS/$name/cgroups"
	exec nsenter -F -t "$pid" -m -u -i -n -p -C ${t[@]+"${t[@]}"} env -i TERM="${TERM:-dumb}" HOME=/root LANG=C.UTF-8 SYSTEMD_PAGER= \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /bin/sh -c \
		'c=$1; shift; setpriv --pdeathsig KILL --bounding-set "$c" --inh-caps "$c" -- "$@"; exit $?' lab-exec "$DROP_CAPS" "$@"
}
# Before a shutdown, end what `exec` started, as a real one ends ssh sessions: first the processes inside, so that their
# waiters reap them, then the waiters.  A zombie whose waiter is gone is reaped by the machine's PID 1, here after up to
# 2 s; systemd-shutdown, not being its parent, would notice only after 10 s.
end_execs() {
	local ctl dir i p lead
	lead=$(leader "$1") || return 0
	read -r ctl dir < <(grep ^unified "$LABS/$1/cgroups")
	dir=$dir/payload/lab-exec
	for ((i = 0; i < 60; i++)); do
		for p in $(cat "$dir/cgroup.procs" 2>/dev/null); do
			[ "$(sed -n 's/^NSpid:\t[0-9]*//p' "/proc/$p/status" 2>/dev/null)" = "" ] || kill -9 "$p" 2>/dev/null || :
		done
		if [ -z "$(cat "$dir/cgroup.procs" 2>/dev/null)" ]; then
			nsenter -t "$lead" -m sh -c 'cat /proc/[0-9]*/status' 2>/dev/null | awk '/^State:/ {z = $2} /^PPid:/ && z == "Z" && $2 == 0 {f = 1} END {exit f}' && return 0
		fi
		[ "$i" != 40 ] || [ ! -e "$dir/cgroup.kill" ] || echo 1 >"$dir/cgroup.kill"
		sleep .05
	done
}
cmd_copy() {
	[ $# = 2 ] || die "usage: copy SRC NAME:/DST | copy NAME:/SRC DST"
	local n p
	if [[ $2 =~ ^([a-z0-9-]+):(/.*)$ ]]; then
		n=${BASH_REMATCH[1]} p=${BASH_REMATCH[2]}
		if [ -d "$1" ]; then
			tar -C "$1" -cf - . | cmd_exec "$n" sh -c 'mkdir -p "$1" && tar --no-same-owner -C "$1" -xf -' - "$p"
		else cmd_exec "$n" sh -c 'mkdir -p "$(dirname "$1")" && cat >"$1.tmp" && chmod "$2" "$1.tmp" && mv -f "$1.tmp" "$1"' - "$p" "$(stat -c %a "$1")" <"$1"; fi
	elif [[ $1 =~ ^([a-z0-9-]+):(/.*)$ ]]; then
		n=${BASH_REMATCH[1]} p=${BASH_REMATCH[2]}
		if cmd_exec "$n" test -d "$p"; then
			mkdir -p "$2"
			cmd_exec "$n" tar -C "$p" -cf - . | tar --no-same-owner -C "$2" -xf -
		else
			cmd_exec "$n" cat "$p" >"$2"
			chmod "$(cmd_exec "$n" stat -c %a "$p")" "$2"
		fi
	else die "copy: one side must be NAME:/PATH"; fi
}
cmd_reboot() {
	local boots
	need "$1" >/dev/null
	boots=$(cat "$(lab_dir "$1")/boots")
	end_execs "$1"
	cmd_exec "$1" systemctl --no-block reboot >/dev/null 2>&1 || :
	wait_ready "$1" "$((boots + 1))"
}
cmd_stop() {
	if leader "$1" >/dev/null; then
		end_execs "$1"
		cmd_exec "$1" systemctl --no-block poweroff >/dev/null 2>&1 || :
		wait_gone "$1" || say "lab $1 did not power off in $TIMEOUT s: killing it"
	fi
	halt_lab "$1"
}
cmd_kill9() {
	need "$1" >/dev/null
	halt_lab "$1"
}
cmd_powercut() {
	local lab pid
	lab=$(lab_dir "$1")
	need "$1" >/dev/null
	pid=$(supervisor "$1")
	# EXT4_IOC_SHUTDOWN without a log flush: from here on nothing more reaches the disk, and what was not synced is gone
	nsenter -t "$pid" -m perl -e 'open F,"<",$ARGV[0] or die $!; my $x=pack "L",2; ioctl(F,0x8004587D,$x) or die "shutdown: $!"' "$lab/disk"
	halt_lab "$1"
}
cmd_down() {
	[ $# -ge 1 ] || die "usage: down NAME... | --all"
	local n lab l
	[ "$1" != --all ] || {
		set --
		for l in "$LABS"/*/; do [ -d "$l" ] && set -- "$@" "$(basename "$l")"; done
	}
	for n; do
		lab=$(lab_dir "$n")
		[ -d "$lab" ] || continue
		halt_lab "$n"
		rm -rf --one-file-system "$lab"
	done
	exec 9>"$DIR/lock"
	flock 9
	if [ -z "$(ls -A "$LABS" 2>/dev/null)" ]; then
		if n=$(pid_of "$DIR/switch"); then
			kill -9 "$n"
			while pid_of "$DIR/switch" >/dev/null; do sleep .02; done
		fi
		rm -rf "$DIR/switch" "$DIR/hosts" "$LABS"
	fi
	exec 9>&-
}
cmd_netpid() { pid_of "$DIR/switch" || die "no host is up"; }
netexec() { nsenter -t "$(cmd_netpid)" -n -- "$@"; }
cmd_cut() {
	need "$1" >/dev/null
	netexec ip link set "ve-$1" down
}
cmd_mend() {
	need "$1" >/dev/null
	netexec ip link set "ve-$1" up
}
# keep is the one way of ours to end. Whoever started it may be killed: then stdin ends all the same.
cmd_keep() {
	cat >/dev/null || :
	touch "$DIR/closed"
	exec 7>>"$DIR/busy"
	flock 7 # whatever still makes something here, such as `up`, is waited for
	exec 7>&-
	cmd_down --all
	rm -rf --one-file-system "$DIR"
}

case ${1:-} in
build | up | exec | copy | reboot | stop | kill9 | powercut | down | netpid | cut | mend | keep | _supervise | _boot | _boot2) ;;
*)
	sed -n '2,/^set -e/{/^#/s/^# \?//p}' "$SELF"
	exit 64
	;;
esac
mkdir -p "$DIR"
DIR=$(readlink -f "$DIR")
LABS=$DIR/labs
mkdir -p "$LABS"
case $CACHE in /*) ;; *)
	mkdir -p "$CACHE"
	CACHE=$(readlink -f "$CACHE")
	;;
esac
CG=etcdsup-lab-$(printf '%s' "$DIR" | cksum | cut -d' ' -f1)
[ "$1" != exec ] || exec_in "${@:2}"
"cmd_$1" "${@:2}"
