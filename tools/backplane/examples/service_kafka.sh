#!/bin/sh
# service_kafka.sh PORT QUEUE: a service that works on what clients send, by kcat: it prints who sent what, as headers,
# and the data. Several of them, in one group, share the partitions.
exec kcat -G services -q -u -b "127.0.0.1:$1" -X auto.offset.reset=earliest -f '%h %s\n' "$2"
