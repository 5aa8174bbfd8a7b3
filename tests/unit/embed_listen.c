/* SPDX-License-Identifier: MIT
 *
 * embed_listen.c - a listener on all addresses where the kernel has no IPv6: it has those of IPv4 then, on one port for
 * all workers. And one on a path, whose one socket all workers share.
 */
#include "ringcast.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* socket(AF_INET6, ...) fails as it does there. */
static void forbid_ipv6(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static bool connects(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool connected = connect(fd, (const struct sockaddr *)&to, sizeof to) == 0;
	close(fd);
	return connected;
}

Test(embed_listen, without_ipv6)
{
	struct rc_config config;
	struct rc_error error;
	rc_config_init(&config);
	config.worker_count = 3;
	config.log_size = 1 << 16;
	forbid_ipv6();
	rc_server *server = rc_server_new(&config, &error);
	cr_assert_not_null(server, "%s", error.text);
	int port = rc_server_listen(server, ":0", &error);
	cr_assert_gt(port, 0, "%s", error.text);
	cr_assert_eq(rc_server_start(server, &error), 0, "%s", error.text);
	for (unsigned i = 0; i < 20; i++)
		cr_assert(connects(port));
	cr_assert_eq(rc_server_listen(server, "[::]:0", &error), -EBUSY);
	rc_server_stop(server, 0);
	rc_server_join(server);
	rc_server_free(server);

	server = rc_server_new(&config, &error);
	cr_assert_eq(rc_server_listen(server, "[::]:0", &error), -EAFNOSUPPORT,
	             "who asks for IPv6 hears that there is none");
	rc_server_free(server);
}

/* ---- on a path ---- */

static rc_server *server;
static struct rc_error error;
static char path[64], address[80];

static void begin(void)
{
	struct rc_config config;
	rc_config_init(&config);
	config.worker_count = 3;
	config.log_size = 1 << 16;
	server = rc_server_new(&config, &error);
	cr_assert_not_null(server, "%s", error.text);
	snprintf(path, sizeof path, "/tmp/ringcast-embed-listen-%d", (int)getpid());
	snprintf(address, sizeof address, "unix:%s", path);
}

static void end(void)
{
	rc_server_free(server);
	unlink(path);
}

/* How many descriptors a child would get that is not told of any. */
static unsigned count_inherited(void)
{
	unsigned count = 0;
	for (int fd = 0; fd < 256; fd++) {
		int flags = fcntl(fd, F_GETFD);
		count += flags >= 0 && !(flags & FD_CLOEXEC);
	}
	return count;
}

Test(embed_listen, no_child_inherits_a_path, .init = begin, .fini = end)
{
	unsigned before = count_inherited();
	cr_assert_eq(rc_server_listen(server, address, &error), 0, "%s", error.text);
	cr_expect_eq(count_inherited(), before);
}

/* One descriptor is left, and each worker wants one. */
Test(embed_listen, too_few_descriptors_for_all_workers, .init = begin, .fini = end)
{
	struct rlimit limit, before;
	int next = open("/dev/null", O_RDONLY);
	close(next);
	getrlimit(RLIMIT_NOFILE, &before);
	limit = before;
	limit.rlim_cur = (rlim_t)next + 1;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	int result = rc_server_listen(server, address, &error);
	setrlimit(RLIMIT_NOFILE, &before);
	cr_expect_eq(result, -EMFILE, "%d", result);
	cr_expect_eq(error.code, -EMFILE);
	cr_expect_not_null(strstr(error.text, "ulimit -n"), "%s", error.text);
	cr_expect_eq(rc_server_listen(server, address, &error), 0, "%s", error.text);
}
