#!/bin/sh
# kafka.sh PORT PREFIX TO TEXT: publishes to ringcast's clients by kcat. The record's key says where it is for:
# topic/NAME, room/NAME, user/NAME or all.
printf '%s' "$4" | kcat -P -b "127.0.0.1:$1" -t "$2.packets" -p 0 -k "$3" -X acks=all
