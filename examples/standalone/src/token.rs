use std::error::Error;
use std::time::Duration;

use im_core::ports::Clock as _;
use im_transport::clock::SystemClock;
use im_transport::jwt::JwtIssuer;

use crate::cli::TokenArgs;
use crate::settings::Settings;
use crate::{output, secret};

/// Prints the tokens.
pub(crate) fn run(settings: &Settings, args: &TokenArgs) -> Result<(), Box<dyn Error>> {
    let issuer = JwtIssuer::new(&secret::load_or_create(&settings.data)?);
    let now = SystemClock::new().now();
    for user in &args.users {
        output::line(&issuer.issue(user, now, Duration::from_secs(args.ttl.into()))?)?;
    }
    Ok(())
}
