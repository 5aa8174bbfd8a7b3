# rabbitmq.py PORT PREFIX TOPIC TEXT: publishes to ringcast's clients by pika. A message that RabbitMQ has not confirmed
# raises an error.
import sys

import pika

port, prefix, topic, text = sys.argv[1:]
with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(port))) as link:
    channel = link.channel()
    channel.confirm_delivery()
    channel.basic_publish(exchange=prefix, routing_key=f"topic.{topic}", body=text.encode(), mandatory=True)
