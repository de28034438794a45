//! Servers for tests. A test starts what it needs, on a port and in a directory of its own, and may kill it and start it again:
//!
//! ```
//! use im_test_servers::MariaDb;
//!
//! let shared = MariaDb::shared(); // one server for all tests of this binary
//! let url = shared.database("orders"); // an empty database for one test
//!
//! let own = MariaDb::start(); // for a test that harms its server
//! own.kill();
//! own.restart();
//! # assert!(url.starts_with("mysql://"));
//! ```
//!
//! Whatever goes wrong here is the machine's fault, not the fault of what is tested: every function panics then, and says what to do. All functions
//! block, for two seconds at most where the machine is idle; they may be called inside a runtime.
//!
//! A test that fills a disk gives its server, or what else it tests, a [`SmallDisk`]; that takes root. A [`RefusingDisk`] fails to write for as
//! long as it is told to; not every machine can have one.
//!
//! A server ends with the process that started it, however that ends. Its data lies in memory, in `/dev/shm`, if that has 8 GiB or more: a sync costs nothing there, and
//! a kill loses no more than on a disk. Else it lies in the system's directory for temporary files. `IM_TEST_DIR` names another place. What a process left behind is
//! removed when the next server starts.

mod data;
mod directory;
mod disk;
mod mariadb;
mod postgres;
mod process;
mod program;
mod proxy;
mod redis;
mod refusing;
mod sql;
mod url;

pub use disk::SmallDisk;
pub use mariadb::MariaDb;
pub use postgres::Postgres;
pub use proxy::Proxy;
pub use redis::{Redis, RedisCluster, RedisSentinel};
pub use refusing::RefusingDisk;
