
# name_rest says what stays, and where. Data is removed by people, never by a package.
name_rest() {
	for dir in "$data" "$config"; do
		if [ -d "$dir" ] && [ -n "$(ls -A "$dir")" ]; then
			say "kept: $dir, $(du -sh "$dir" 2>/dev/null | cut -f 1); no package deletes it"
		fi
	done
	say 'kept: the user etcd, to whom data belongs; and data and logs in places that a configuration names'
}

case "${1-}" in
remove | purge | 0)
	rm -f "$program.previous" "$program.next" "$program.failed" "$program".*.tmp
	reload_units
	name_rest
	;;
esac
