/* SPDX-License-Identifier: MIT
 *
 * commands.h - the subcommands, each defined in the file of its name.
 */
#ifndef RC_COMMANDS_H
#define RC_COMMANDS_H

#include "lib/options.h"

extern const struct rc_command rc_command_serve;
extern const struct rc_command rc_command_app;
extern const struct rc_command rc_command_config;
extern const struct rc_command rc_command_sub;
extern const struct rc_command rc_command_pub;
extern const struct rc_command rc_command_replay;
extern const struct rc_command rc_command_load;
extern const struct rc_command rc_command_top;
extern const struct rc_command rc_command_probe;

#endif
