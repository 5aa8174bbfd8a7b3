#!/bin/sh
# service.sh PORT QUEUE: a service that works on what clients send, by redis-cli alone: it prints who sent what. Several
# of them share the work. What one had taken and not acknowledged when it died, XAUTOCLAIM gives to another.
redis-cli -p "$1" XGROUP CREATE "$2" services 0 MKSTREAM >/dev/null
while redis-cli -p "$1" PING >/dev/null; do
	# The queue's name, the entry's, and four fields, each behind its name.
	redis-cli -p "$1" --raw XREADGROUP GROUP services "$$" COUNT 1 BLOCK 1000 STREAMS "$2" '>' | {
		read -r _ && read -r entry && read -r _ && read -r user && read -r _ && read -r id &&
			read -r _ && read -r _ && read -r _ && read -r data || exit 0
		echo "$user $id $data"
		redis-cli -p "$1" XACK "$2" services "$entry" >/dev/null
	}
done
