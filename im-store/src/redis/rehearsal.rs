//! What service needs of a Redis, tried before a server serves: a Redis can be there and answer, and refuse every login.

use redis::{RedisResult, Script, ScriptInvocation};

use super::leases::Living;
use super::link::Redis;
use super::online;
use super::routes::route_ttl;
use super::scripts::{CONFIRM, REGISTER, REMOVE};

/// The link that is registered. No server has made it: ids have the time in them.
const LINK: i64 = 0;

/// Does what logins, reports and logouts do, with a user who has no name and so can be nobody. The subscriptions try what the bus needs.
pub(super) async fn rehearse(redis: &Redis) -> RedisResult<()> {
    let living = Living::read(redis).await?;
    let registered: Vec<String> = redis.run(invoke(redis, &REGISTER, &living)).await?;
    let mut confirm = invoke(redis, &CONFIRM, &living);
    confirm.arg(registered.first());
    redis.run::<Vec<String>>(confirm).await?;
    let mut read = redis::cmd("HGETALL");
    read.arg(nobody(redis));
    redis.run::<Vec<(String, String)>>(read).await?;
    let mut remove = REMOVE.key(nobody(redis));
    remove.arg(LINK);
    redis.run::<bool>(remove).await?;
    online::rehearse(redis).await
}

fn nobody(redis: &Redis) -> String {
    redis.key("u", "")
}

/// As a login or a report does.
fn invoke(redis: &Redis, script: &'static Script, living: &Living) -> ScriptInvocation<'static> {
    let mut call = script.key(nobody(redis));
    call.arg(living.list()).arg(living.as_of).arg(route_ttl(redis));
    // Node, life, type of the device, since, device, policy and most.
    call.arg(LINK).arg(0).arg(0).arg(0).arg(0).arg("").arg("never").arg(0);
    call
}
