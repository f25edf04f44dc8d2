
# name_rest says what stays, and where. Data is removed by people, never by a package.
name_rest() {
	for dir in "$data" "$config"; do
		if [ -d "$dir" ] && [ -n "$(ls -A "$dir")" ]; then
			say "kept: $dir, $(du -sh "$dir" 2>/dev/null | cut -f 1)"
		fi
	done
	say "kept: the user etcd, to whom the data belongs; and data and logs in places that the configuration names"
}

case "${1-}" in
remove | purge | 0)
	reload_units
	name_rest
	;;
esac
