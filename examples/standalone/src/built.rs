//! What this program can be built without, and how to build it with that.

/// Part of the program that is not there. Its name is that of the feature which brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this im-standalone was built without {0}. Build it with: cargo build --release -p im-standalone --features {0} \
     (or --features full, for everything)"
)]
pub(crate) struct NotBuilt(pub(crate) &'static str);

/// Whether the kind of database that a URL's scheme names is built in.
pub(crate) fn database(scheme: &str) -> Result<(), NotBuilt> {
    match scheme {
        "mysql" | "mariadb" if !cfg!(feature = "mysql") => Err(NotBuilt("mysql")),
        "postgres" | "postgresql" if !cfg!(feature = "postgres") => Err(NotBuilt("postgres")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_the_command_that_brings_it() {
        let words = NotBuilt("redis").to_string();
        assert!(words.contains("cargo build --release -p im-standalone --features redis "), "{words}");
    }

    #[test]
    fn a_database_is_refused_exactly_if_it_is_not_built_in() {
        for scheme in ["mysql", "mariadb"] {
            assert_eq!(database(scheme).is_ok(), cfg!(feature = "mysql"));
        }
        for scheme in ["postgres", "postgresql"] {
            assert_eq!(database(scheme).is_ok(), cfg!(feature = "postgres"));
        }
        assert_eq!(database("sqlite"), Ok(()));
    }
}
