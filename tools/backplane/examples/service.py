# service.py PORT QUEUE: a service that works on what clients send, by pika: it prints who sent what. Several of them
# share the work. What one has not acknowledged when it dies, RabbitMQ gives to another.
import sys

import pika


def work(channel, method, properties, body):
    print(properties.headers["user"], properties.headers["id"], body.decode(), flush=True)
    channel.basic_ack(method.delivery_tag)


with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(sys.argv[1]))) as link:
    channel = link.channel()
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(sys.argv[2], work)
    channel.start_consuming()
