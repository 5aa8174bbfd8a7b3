/* SPDX-License-Identifier: MIT
 *
 * built.h - which engines this build has: those whose library's header is here (tools/setup.sh installs what it can),
 * unless the packager leaves one out with -DRC_WITHOUT_REDIS and its like. The Makefile asks for the same headers when
 * it links. It says nothing else.
 */
#ifndef BACKPLANE_BUILT_H
#define BACKPLANE_BUILT_H

#if __has_include(<hiredis/hiredis.h>) && !defined(RC_WITHOUT_REDIS)
#define BACKPLANE_REDIS 1
#endif
#if __has_include(<nats/nats.h>) && !defined(RC_WITHOUT_NATS)
#define BACKPLANE_NATS 1
#endif
#if __has_include(<amqp.h>) && !defined(RC_WITHOUT_AMQP)
#define BACKPLANE_AMQP 1
#endif
#if __has_include(<librdkafka/rdkafka.h>) && !defined(RC_WITHOUT_KAFKA)
#define BACKPLANE_KAFKA 1
#endif

#endif
