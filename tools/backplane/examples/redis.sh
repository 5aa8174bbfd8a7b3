#!/bin/sh
# redis.sh PORT PREFIX TO TEXT: publishes to ringcast's clients by redis-cli alone; TO is topic/NAME, room/NAME,
# user/NAME or all. The id of an entry begins with the
# stream's epoch, which is that of its newest entry; the script that says so runs within Redis, as one.
exec redis-cli -p "$1" EVAL '
	local newest = redis.call("XREVRANGE", KEYS[1], "+", "-", "COUNT", 1)[1][1]
	return redis.call("XADD", KEYS[1], string.match(newest, "%d+") .. "-*", "to", ARGV[1], "data", ARGV[2])
' 1 "$2:stream" "$3" "$4"
