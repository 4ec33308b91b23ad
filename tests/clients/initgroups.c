/* For cron in a user namespace, where nobody may change the groups of a process: lets it believe that it did. */
#include <grp.h>
#include <sys/types.h>

int initgroups(const char *user, gid_t group) {
    (void)user;
    (void)group;
    return 0;
}
