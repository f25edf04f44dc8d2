
# stop stops our services, and with each its etcd, in order.
stop() {
	booted || return 0
	for unit in $(units); do
		say "stopping $unit"
		if ! systemctl stop "$unit"; then
			say "cannot remove: $unit does not stop; see \"systemctl status $unit\""
			exit 1
		fi
	done
}

# disable takes away the links by which a boot would start what is no longer there.
disable() {
	has systemctl || return 0
	for link in /etc/systemd/system/*.wants/etcdsup.service /etc/systemd/system/*.wants/etcdsup@*.service; do
		case $link in
		*@*) file=/etc/systemd/system/etcdsup@.service ;;
		*) file=/etc/systemd/system/etcdsup.service ;;
		esac
		if [ -f "$file" ] && ! starts_ours "$file"; then
			say "${link##*/} stays: it starts another executable than the package's"
			continue
		fi
		[ ! -L "$link" ] || systemctl disable "${link##*/}" || say "cannot disable ${link##*/}: remove $link"
	done
}

case "${1-}" in
remove | 0)
	stop
	disable
	;;
esac
