/* SPDX-License-Identifier: MIT */
/* `sidgate ctl`: its commands. */
#include "gateway/ctl.h"

#include "gateway/ctl_call.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

const struct gw_ctl_command gw_ctl_commands[] = {
    {.name = "status",
     .prefix = "/api/v1/status",
     .run = gw_ctl_run_status,
     .help = "The gateway at a glance, and its replicas."},
    {.name = "top",
     .flags = GW_CTL_HAS(GW_CTL_ONCE) | GW_CTL_HAS(GW_CTL_INTERVAL),
     .run = gw_ctl_run_top,
     .help = "That, the backends and the last events, each second anew, until "
             "q or\n        Ctrl-C; --once, or not on a terminal: one time."},
    {.name = "backends",
     .prefix = "/api/v1/backends",
     .run = gw_ctl_run_backends,
     .help = "List the backends, their states and sessions."},
    {.name = "replicas",
     .prefix = "/api/v1/status",
     .run = gw_ctl_run_replicas,
     .help = "List the gateways that share the store."},
    {.name = "sessions",
     .flags = GW_CTL_HAS(GW_CTL_BACKEND) | GW_CTL_HAS(GW_CTL_CLIENT) |
              GW_CTL_HAS(GW_CTL_TRANSPORT) | GW_CTL_HAS(GW_CTL_GATEWAY) |
              GW_CTL_HAS(GW_CTL_SEARCH) | GW_CTL_HAS(GW_CTL_ENDED) |
              GW_CTL_HAS(GW_CTL_LIMIT) | GW_CTL_HAS(GW_CTL_ALL),
     .run = gw_ctl_run_sessions,
     .help = "List sessions, 100 of them without --limit and --all; with\n"
             "        --ended the last ones that ended at this gateway."},
    {.name = "session",
     .operand = "ID|SID|-",
     .is_operand_secret = true,
     .prefix = "/api/v1/sessions/",
     .suffix = "",
     .run = gw_ctl_run_session,
     .help =
         "All that is known of one. Others see a command line (ps): give a\n"
         "        sid, which is a secret, as a line of standard input, and - "
         "in\n"
         "        its place."},
    {.name = "kick",
     .operand = "ID|SID|-",
     .is_operand_secret = true,
     .is_post = true,
     .prefix = "/api/v1/sessions/",
     .suffix = "/kick",
     .done = "the session is ended",
     .run = gw_ctl_run_kick,
     .help = "End a session, wherever it lives; for - see session."},
    {.name = "drain",
     .operand = "ID",
     .is_post = true,
     .prefix = "/api/v1/backends/",
     .suffix = "/drain",
     .flags = GW_CTL_HAS(GW_CTL_RATE) | GW_CTL_HAS(GW_CTL_TIMEOUT),
     .done = "gets no new sessions",
     .run = gw_ctl_run_plain,
     .help =
         "Give it no new sessions; close --rate of those that it has in each\n"
         "        second, and the rest after --timeout."},
    {.name = "undrain",
     .operand = "ID",
     .is_post = true,
     .prefix = "/api/v1/backends/",
     .suffix = "/undrain",
     .done = "gets new sessions again",
     .run = gw_ctl_run_plain,
     .help = "End its drain."},
    {.name = "add",
     .operand = "SPEC",
     .is_post = true,
     .prefix = "/api/v1/backends?spec=",
     .suffix = "",
     .flags = GW_CTL_HAS(GW_CTL_POOL),
     .done = "is added",
     .run = gw_ctl_run_plain,
     .help = "Add a backend, written as --backend takes it, until the next "
             "restart."},
    {.name = "remove",
     .operand = "ID",
     .is_post = true,
     .prefix = "/api/v1/backends/",
     .suffix = "/remove",
     .done = "gets no new sessions and is forgotten after its last one",
     .run = gw_ctl_run_plain,
     .help =
         "Remove a backend; one of the configuration comes back with the next\n"
         "        reload or restart."},
    {.name = "reload",
     .is_post = true,
     .prefix = "/api/v1/reload",
     .done = "the configuration is in effect",
     .run = gw_ctl_run_plain,
     .help = "Read the whole configuration again."},
    {.name = "upgrade",
     .is_post = true,
     .prefix = "/api/v1/upgrade",
     .run = gw_ctl_run_upgrade,
     .help = "Start the program anew and hand everything over to it."},
    {.name = "events",
     .flags = GW_CTL_HAS(GW_CTL_FOLLOW) | GW_CTL_HAS(GW_CTL_LEVEL) |
              GW_CTL_HAS(GW_CTL_LIMIT),
     .run = gw_ctl_run_events,
     .help =
         "The last lines of its log, 100 without --limit; with --follow those\n"
         "        that come, too, until Ctrl-C."},
    {.name = "config",
     .prefix = "/api/v1/config",
     .run = gw_ctl_run_config,
     .help = "The configuration in effect, as JSON; secrets are masked."},
    {.name = "log-level",
     .operand = "LEVEL",
     .is_operand_optional = true,
     .run = gw_ctl_run_log_level,
     .help = "Tell or set the log level: error, warning, info or debug."},
};

const size_t gw_ctl_command_count =
    sizeof(gw_ctl_commands) / sizeof(gw_ctl_commands[0]);

static void print_command(const struct gw_ctl_command *command)
{
    const char *operand = command->operand;
    bool is_optional = command->is_operand_optional;
    size_t column = 2 + strlen(command->name);

    printf("  %s", command->name);
    if (operand != NULL)
        column += (size_t)printf(is_optional ? " [%s]" : " %s", operand);
    for (size_t i = GW_CTL_OWN; i < GW_CTL_FLAG_COUNT; i++) {
        const struct gw_ctl_flag_name *flag = &gw_ctl_flags[i];
        char text[64];

        if ((command->flags & GW_CTL_HAS(i)) == 0)
            continue;
        int len = snprintf(text, sizeof(text), "[--%s%s%s]", flag->name,
                           flag->value != NULL ? " " : "",
                           flag->value != NULL ? flag->value : "");
        bool fits = column + 1 + (size_t)len <= 79;
        printf("%s%s", fits ? " " : "\n           ", text);
        column = (fits ? column + 1 : 11) + (size_t)len;
    }
    printf("\n        %s\n", command->help);
}

static void print_help(void)
{
    puts("usage: sidgate ctl [--admin ADDRESS] [--admin-token-file FILE]\n"
         "                   [--config FILE] [--json] COMMAND\n");
    for (size_t i = 0; i < gw_ctl_command_count; i++)
        print_command(&gw_ctl_commands[i]);
    puts("\nThe gateway's operator listener is looked for at --admin, else at\n"
         "SIDGATE_ADMIN, else where the configuration file has it, else at\n"
         "127.0.0.1:9180. With --json the answer is printed for programs.\n"
         "Behind -- stand words that are no options.\n\n"
         "Exit status: 0; 1: the gateway refuses; 2: wrong command line, or no "
         "answer.");
}

/* What did not get out is a failure, unless nobody wants it any more. */
static int finish(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    return errno == EPIPE ? code
                          : gw_ctl_fail("standard output cannot be written",
                                        GW_CTL_UNASKED);
}

int gw_ctl(int argc, char **argv)
{
    static struct gw_ctl_call call;

    signal(SIGPIPE, SIG_IGN);
    call = (struct gw_ctl_call){.command = NULL};
    if (!gw_ctl_read_line(&call, argc, argv))
        return gw_ctl_fail(call.error, GW_CTL_UNASKED);
    if (gw_ctl_is_given(&call, GW_CTL_HELP)) {
        print_help();
        return finish(0);
    }
    const struct gw_ctl_given given = {
        .admin = call.values[GW_CTL_ADMIN],
        .token_file = call.values[GW_CTL_TOKEN_FILE],
        .config = call.values[GW_CTL_CONFIG],
    };
    if (!gw_ctl_find_target(&given, &call.target, call.error))
        return gw_ctl_fail(call.error, GW_CTL_UNASKED);
    int code = finish(call.command->run(&call));
    free(call.answer.body);
    explicit_bzero(&call, sizeof(call));
    return code;
}
