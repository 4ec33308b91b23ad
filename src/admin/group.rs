//! Who may use the control socket besides root and the service's own user: the members of `control-group` (group(5), passwd(5)).

/// A group of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// Its number.
    pub(super) gid: u32,
    members: Vec<String>,
}

impl Group {
    /// Finds `name` in the text of /etc/group.
    pub(super) fn find(name: &str, groups: &str) -> Option<Self> {
        groups.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [found, _, gid, members] = fields[..] else { return None };
            let gid = gid.parse().ok().filter(|_| found == name)?;
            Some(Self { gid, members: members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect() })
        })
    }

    /// Whether the user `uid`, whose process runs with `gid`, belongs to it. `users` is the text of /etc/passwd.
    pub(super) fn holds(&self, uid: u32, gid: u32, users: &str) -> bool {
        let is_user = |line: &&str| line.split(':').nth(2).is_some_and(|number| number.parse() == Ok(uid));
        let name = users.lines().find(is_user).and_then(|line| line.split(':').next());
        gid == self.gid || name.is_some_and(|name| self.members.iter().any(|member| member == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_known_by_their_own_group_or_by_name() {
        let groups = "root:x:0:\noperators:x:70:ann,bob\nbroken:x\nempty:x:71:\n";
        let users = "root:x:0:0::/root:/bin/sh\nann:x:1001:1001::/:/bin/sh\ncid:x:1003:1003::/:/bin/sh\n";
        let operators = Group::find("operators", groups).expect("it is there");
        for (uid, gid, expected) in [(1001, 1001, true), (1003, 70, true), (1003, 1003, false), (4000, 4000, false)] {
            assert_eq!(operators.holds(uid, gid, users), expected, "{uid}:{gid}");
        }
        assert!(!Group::find("empty", groups).expect("it is there").holds(1003, 1003, users));
        assert_eq!(Group::find("broken", groups), None);
        assert_eq!(Group::find("nobody", groups), None);
    }
}
