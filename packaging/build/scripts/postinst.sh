
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

# replace_running has every etcdsup that runs here go on as the new version, with the same PID and the same etcd. Where
# the new one does not work the old one goes on, and is at its place again.
replace_running() {
	if [ -e "$program.failed" ]; then # a second try of what has failed: dpkg --configure etcdsup
		keep
		mv -f "$program.failed" "$program"
	fi
	[ -x "$program.previous" ] || return 0
	"$program.previous" upgrade --all && return
	say 'what runs has not become the new version, for the reason above; etcd goes on in any case'
	if [ -e "$program.failed" ]; then
		say "  the old version is at its place again, and the new one is $program.failed"
	fi
	say '  try again: dpkg --configure etcdsup, or rpm: install the package once more'
	say '  without:   systemctl restart etcdsup, which stops and starts etcd too'
	return 1
}

# greet says what is left to do: a database is not started unasked.
greet() {
	say 'installed, and not started'
	say "  configure: etcdsup config example > $config/default.yaml; without a file, etcd is one member on loopback"
	say '  start:     systemctl enable --now etcdsup'
	say '  read:      man etcdsup'
}

# name_hiding tells of units that etcdsup install has made from another executable: they count more than the package's.
name_hiding() {
	for unit in etcdsup.service etcdsup@.service; do
		file=/etc/systemd/system/$unit
		if [ -f "$file" ] && ! starts_ours "$file"; then
			say "$file hides the package's unit, and starts another executable: $(sed -n 's/^ExecStart=\([^ ]*\) .*/\1/p' "$file")"
			say "  to have the package's: $program install, then systemctl restart ${unit%.service}, which stops and starts etcd"
		fi
	done
}

case "${1-}" in
configure | [1-9]*)
	make_user
	make_folders
	reload_units
	name_hiding
	replace_running
	if [ "$1" = 1 ] || { [ "$1" = configure ] && [ -z "${2-}" ]; }; then
		greet
	fi
	;;
esac
