//! The names of users and groups in rows: one byte for the kind, then the id. Unequal for unequal owners.

use im_core::id::{GroupId, Uid};
use im_core::message::{Target, TimelineId};

/// The name of a timeline's owner.
pub(crate) fn of(timeline: &TimelineId) -> Vec<u8> {
    match timeline {
        TimelineId::User(uid) => [b"u", uid.as_str().as_bytes()].concat(),
        TimelineId::Group(group) => [&b"g"[..], &group.0.to_be_bytes()].concat(),
    }
}

/// The name of a user.
#[cfg(any(feature = "sqlite", feature = "mysql", feature = "postgres"))]
pub(crate) fn of_user(uid: &Uid) -> Vec<u8> {
    of(&TimelineId::User(uid.clone()))
}

/// The timeline of a message's target.
pub(crate) fn timeline_of(target: &Target) -> TimelineId {
    match target {
        Target::User(uid) => TimelineId::User(uid.clone()),
        Target::Group(group) => TimelineId::Group(*group),
    }
}

/// The target that a timeline belongs to.
#[cfg(feature = "log")]
pub(crate) fn target_of(timeline: &TimelineId) -> Target {
    match timeline {
        TimelineId::User(uid) => Target::User(uid.clone()),
        TimelineId::Group(group) => Target::Group(*group),
    }
}

/// Whom a name names; `None` if [`of`] did not make it.
pub(crate) fn parse(name: &[u8]) -> Option<Target> {
    match name.split_first()? {
        (b'u', uid) => Some(Target::User(Uid::new(std::str::from_utf8(uid).ok()?).ok()?)),
        (b'g', group) => Some(Target::Group(GroupId(i64::from_be_bytes(group.try_into().ok()?)))),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_parsed_to_whom_it_names() {
        for target in [Target::User(Uid::new("g2345678\0").unwrap()), Target::Group(GroupId(-1))] {
            assert_eq!(parse(&of(&timeline_of(&target))), Some(target));
        }
    }

    #[test]
    fn bytes_that_are_no_name_are_not_parsed() {
        for bytes in [&b""[..], b"u", b"u\xFF", b"g", b"g1234567", b"x1"] {
            assert_eq!(parse(bytes), None);
        }
    }
}
