//! Groups of one user: which users may write where a group may.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

/// Returns whether users other than its owner may create and remove entries of a directory.
///
/// A group whose only member is the owner does not count: many systems give each user such a group
/// and let it write.
#[must_use]
pub fn lets_others_write(directory: &Metadata) -> bool {
    let mode = directory.mode();
    mode & 0o002 != 0 || mode & 0o020 != 0 && !is_private_group(directory.gid(), directory.uid())
}

/// Returns whether `owner` is the only member of a group, by `/etc/passwd` and `/etc/group`.
fn is_private_group(group: u32, owner: u32) -> bool {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    is_alone_in(group, owner, &read("/etc/passwd"), &read("/etc/group"))
}

/// Returns whether `owner` is the only member of a group, by the texts of passwd(5) and group(5).
///
/// A user who is in neither (of a directory service) counts as alone in a group of the same number,
/// as is the custom.
fn is_alone_in(group: u32, owner: u32, accounts: &str, groups: &str) -> bool {
    let mut name = None;
    for fields in accounts.lines().map(|line| line.split(':').collect::<Vec<_>>()) {
        let [login, _, user, primary, ..] = fields.as_slice() else { continue };
        if user.parse() == Ok(owner) {
            name.get_or_insert(*login);
        } else if primary.parse() == Ok(group) {
            return false;
        }
    }
    let mut known = false;
    for fields in groups.lines().map(|line| line.split(':').collect::<Vec<_>>()) {
        let [_, _, number, members] = fields.as_slice() else { continue };
        if number.parse() == Ok(group) {
            known = true;
            if members.split(',').any(|member| !member.is_empty() && Some(member) != name) {
                return false;
            }
        }
    }
    known || group == owner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_of_ones_own_is_nobody_else() {
        let accounts = "root:x:0:0::/:/bin/sh\nme:x:1000:1000::/:/bin/sh\nyou:x:1001:1001::/:/bin/sh\n\
                        third:x:1002:100::/:/bin/sh\n";
        let groups =
            "root:x:0:\nme:x:1000:\nyou:x:1001:me\nusers:x:100:\nteam:x:50:me,you\nself:x:60:me\n";
        let alone = |group, owner| is_alone_in(group, owner, accounts, groups);
        assert!(alone(1000, 1000) && alone(0, 0) && alone(60, 1000));
        // Another's, one with another member, one that is another's first.
        assert!(!alone(1001, 1000) && !alone(50, 1000) && !alone(100, 1000));
        // A user of a directory service.
        assert!(alone(70_000, 70_000) && !alone(513, 70_000));
    }

    #[test]
    fn a_directory_lets_others_write_by_its_mode_for_all_or_for_a_group_with_others() {
        let directory = tempfile::tempdir().unwrap();
        let with = |mode, group: Option<u32>| {
            use std::os::unix::fs::PermissionsExt as _;
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(directory.path(), permissions).unwrap();
            if group.is_some() {
                std::os::unix::fs::chown(directory.path(), None, group).unwrap();
            }
            lets_others_write(&std::fs::metadata(directory.path()).unwrap())
        };
        assert!(!with(0o700, None) && !with(0o755, None) && with(0o702, None));
        // Only root can give a directory to a group of others.
        if rustix::process::geteuid().is_root() {
            assert!(with(0o770, Some(54_321)) && !with(0o750, Some(54_321)));
        }
    }
}
