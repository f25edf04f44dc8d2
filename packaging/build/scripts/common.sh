#!/bin/sh
# One text for dpkg and rpm. dpkg says in words what it does (install, upgrade, remove, purge), rpm with the number of
# versions that will be there afterwards. It must work where no systemd runs, and in a folder that will be a host's root.
set -eu

# shellcheck disable=SC2034 # not each script names all
readonly program=/usr/bin/etcdsup data=/var/lib/etcdsup config=/etc/etcdsup

say() { printf 'etcdsup: %s\n' "$*"; }

has() { command -v "$1" >/dev/null 2>&1; }

# booted tells whether systemd runs here, and not only lies here.
booted() { [ -d /run/systemd/system ] && has systemctl; }

reload_units() { ! booted || systemctl daemon-reload || say 'cannot make systemd read its units again: run "systemctl daemon-reload"'; }

# starts_ours FILE tells whether a unit's file starts the package's executable, and not one that was installed beside it.
starts_ours() { grep -q "^ExecStart=$program " "$1"; }

# units are the services of ours that systemd has running, each on a line.
units() {
	systemctl list-units --plain --no-legend --all --state=active,activating,reloading,deactivating 'etcdsup.service' 'etcdsup@*.service' | cut -d ' ' -f 1 |
		while read -r unit; do
			file=$(systemctl show --value -p FragmentPath "$unit")
			if [ ! -e "$file" ] || starts_ours "$file"; then
				echo "$unit"
			fi
		done
}

# keep gives the executable a second name, under which it is there when its place holds another one.
keep() { ln -f "$program" "$program.previous" 2>/dev/null || cp -p "$program" "$program.previous"; }
