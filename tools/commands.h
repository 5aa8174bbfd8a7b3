/* SPDX-License-Identifier: MIT
 *
 * commands.h - the subcommands, each defined in the file of its name.
 */
#ifndef COMMANDS_H
#define COMMANDS_H

#include "lib/options.h"

extern const struct subcommand command_serve;
extern const struct subcommand command_app;
extern const struct subcommand command_config;
extern const struct subcommand command_sub;
extern const struct subcommand command_pub;
extern const struct subcommand command_replay;
extern const struct subcommand command_load;
extern const struct subcommand command_top;
extern const struct subcommand command_health;
extern const struct subcommand command_probe;
extern const struct subcommand command_doctor;

#endif
