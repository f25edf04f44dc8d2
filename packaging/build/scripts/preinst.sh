
# What runs is replaced by the new version in postinst, and the old one does that: only it is known to work.
case "${1-}" in
install | upgrade | [1-9]*)
	rm -f "$program.failed"
	[ ! -x "$program" ] || keep
	;;
esac
