
make_user() {
	if has systemd-sysusers; then
		systemd-sysusers etcdsup.conf
	elif ! getent passwd etcd >/dev/null; then
		useradd --system --user-group --no-create-home --home-dir "$data" --shell /usr/sbin/nologin --comment 'etcd, supervised by etcdsup' etcd
	fi
}

make_folders() {
	if has systemd-tmpfiles; then
		systemd-tmpfiles --create etcdsup.conf
	else
		mkdir -p "$config" "$data"
	fi
}

# greet says what is left to do: a database is not started unasked.
greet() {
	say 'installed, and not started'
	say "  configure: etcdsup config example > $config/default.yaml; without a file, etcd is one member on loopback"
	say '  start:     systemctl enable --now etcdsup'
	say '  read:      man etcdsup'
}

case "${1-}" in
configure | [1-9]*)
	make_user
	make_folders
	reload_units
	if [ "$1" = 1 ] || [ "$1" = configure ] && [ -z "${2-}" ]; then
		greet
	fi
	;;
esac
