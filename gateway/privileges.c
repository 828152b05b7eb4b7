/* SPDX-License-Identifier: MIT */
/* The user that sidgate runs as once all that needs more rights is open. */
#include "gateway/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { ENTRY_MAX = 65536 };

/* Says what is wrong with the user. */
static bool fail(const char *user, const char *what,
                 char error[GW_PRIVILEGES_ERROR_MAX])
{
    snprintf(error, GW_PRIVILEGES_ERROR_MAX, "user %s: %s", user, what);
    return false;
}

static bool parse_id(const char *text, uint32_t *id)
{
    uint64_t value = 0;

    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9' || value > UINT32_MAX)
            return false;
        value = value * 10 + (uint64_t)(*at - '0');
    }
    *id = (uint32_t)value;
    /* The largest number stands for "no change". */
    return text[0] != '\0' && value < UINT32_MAX;
}

/* By name, else by number. *is_known is false for a number without an entry.
 * False: there is no such user. */
static bool find_user(const char *name, struct gw_privileges *out,
                      bool *is_known)
{
    static char buffer[ENTRY_MAX];
    struct passwd entry;
    struct passwd *found = NULL;
    uint32_t id = 0;
    bool is_number = parse_id(name, &id);

    if (name[0] != '\0')
        getpwnam_r(name, &entry, buffer, sizeof(buffer), &found);
    if (found == NULL && is_number)
        getpwuid_r(id, &entry, buffer, sizeof(buffer), &found);
    *is_known = found != NULL;
    if (found == NULL) {
        out->uid = id;
        return is_number;
    }
    out->uid = found->pw_uid;
    out->gid = found->pw_gid;
    snprintf(out->name, sizeof(out->name), "%s", found->pw_name);
    return true;
}

static bool find_group(const char *name, gid_t *out)
{
    static char buffer[ENTRY_MAX];
    struct group entry;
    struct group *found = NULL;
    uint32_t id;

    if (name[0] != '\0')
        getgrnam_r(name, &entry, buffer, sizeof(buffer), &found);
    if (found != NULL)
        *out = found->gr_gid;
    else if (parse_id(name, &id))
        *out = id;
    else
        return false;
    return true;
}

/* This process is that user already, and nothing else. */
static bool is_already(const struct gw_privileges *to)
{
    uid_t uid[3];
    gid_t gid[3];

    return getresuid(&uid[0], &uid[1], &uid[2]) == 0 &&
           getresgid(&gid[0], &gid[1], &gid[2]) == 0 && uid[0] == to->uid &&
           uid[1] == to->uid && uid[2] == to->uid && gid[0] == to->gid &&
           gid[1] == to->gid && gid[2] == to->gid;
}

bool gw_privileges_find(const char *user, struct gw_privileges *out,
                        char error[GW_PRIVILEGES_ERROR_MAX])
{
    char name[sizeof(out->name)];
    const char *colon = strchr(user, ':');
    size_t len = colon != NULL ? (size_t)(colon - user) : strlen(user);
    bool is_known;

    *out = (struct gw_privileges){.is_kept = user[0] == '\0'};
    if (out->is_kept)
        return true;
    if (len >= sizeof(name))
        return fail(user, "too long", error);
    memcpy(name, user, len);
    name[len] = '\0';
    if (!find_user(name, out, &is_known))
        return fail(user, "there is no such user", error);
    if (colon != NULL && !find_group(colon + 1, &out->gid))
        return fail(user, "there is no such group", error);
    if (colon == NULL && !is_known)
        return fail(user, "a number without an entry needs a group", error);
    if (out->uid == 0)
        return fail(user, "root would keep all its rights", error);
    if (geteuid() == 0)
        return true;
    out->is_kept = is_already(out);
    return out->is_kept || fail(user, "only root can become another", error);
}

bool gw_privileges_give(const struct gw_privileges *to, const char *path,
                        char error[GW_PRIVILEGES_ERROR_MAX])
{
    if (to->is_kept || lchown(path, to->uid, to->gid) == 0)
        return true;
    snprintf(error, GW_PRIVILEGES_ERROR_MAX, "cannot hand %s over: %s", path,
             strerror(errno));
    return false;
}

static bool set_groups(const struct gw_privileges *to)
{
    if (to->name[0] != '\0')
        return initgroups(to->name, to->gid) == 0;
    return setgroups(1, &to->gid) == 0;
}

/* Whether what was dropped can be had again. */
static bool is_way_back(void)
{
    return setresuid((uid_t)-1, 0, (uid_t)-1) == 0 || setuid(0) == 0 ||
           setgroups(0, NULL) == 0;
}

/* Neither the files of /proc nor a debugger of the same user must get at keys:
 * the change of user turns that off, and it stays so. */
bool gw_privileges_drop(const struct gw_privileges *to,
                        char error[GW_PRIVILEGES_ERROR_MAX])
{
    if (to->is_kept)
        return true;
    const char *name = to->name[0] != '\0' ? to->name : "(by number)";
    /* The groups first: after the user it is too late. */
    if (!set_groups(to) || setresgid(to->gid, to->gid, to->gid) != 0 ||
        setresuid(to->uid, to->uid, to->uid) != 0)
        return fail(name, strerror(errno), error);
    if (is_way_back() || !is_already(to))
        return fail(name, "the rights of root could be had again", error);
    return true;
}

void gw_privileges_none_new(void)
{
    /* Kernels that cannot start no programs of ours either. */
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
