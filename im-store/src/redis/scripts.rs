use std::sync::LazyLock;

use redis::Script;

/// Registers a login.
pub(super) static REGISTER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(include_str!("scripts/common.lua"), include_str!("scripts/register.lua")))
});

/// Confirms a login.
pub(super) static CONFIRM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(include_str!("scripts/common.lua"), include_str!("scripts/confirm.lua")))
});

/// Removes links of a user.
pub(super) static REMOVE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/remove.lua")));

/// Renews a node's lease.
pub(super) static RENEW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/renew.lua")));

/// Reads all leases.
pub(super) static NODES: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/nodes.lua")));

/// Takes a lock.
pub(super) static ACQUIRE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(include_str!("scripts/lock.lua"), include_str!("scripts/acquire.lua")))
});

/// Renews a lock, or gives it back.
pub(super) static HOLD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(include_str!("scripts/lock.lua"), include_str!("scripts/hold.lua")))
});

/// Keeps what a blocklist said.
pub(super) static BLOCK_FILL: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/block_fill.lua")));

/// Forgets what a blocklist said.
pub(super) static BLOCK_FORGET: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/block_forget.lua")));

/// Keeps recent entries of a group.
pub(super) static RECENT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/recent.lua")));

/// Keeps a conversation list.
pub(super) static LIST: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/list.lua")));
