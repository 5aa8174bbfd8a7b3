# rabbitmq.py PORT PREFIX TO TEXT: publishes to ringcast's clients by pika; TO is topic/NAME, room/NAME, user/NAME
# or all. A message that RabbitMQ has not confirmed raises an error.
import sys

import pika

port, prefix, to, text = sys.argv[1:]
with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(port))) as link:
    channel = link.channel()
    channel.confirm_delivery()
    channel.basic_publish(exchange=prefix, routing_key=to.replace("/", ".", 1), body=text.encode(), mandatory=True)
