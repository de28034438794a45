use std::time::Duration;

/// How a [`ReplicatedStore`](super::ReplicatedStore) treats its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaLimits {
    /// How long a replica may take to answer, and to show its epoch before it does. Then the primary is asked. Default 500 ms: a tenth of what a call may take.
    pub deadline: Duration,
    /// For how long a replica that was behind is left alone at first. Doubles each time that it is behind again. Default 50 ms: most are behind by less.
    pub behind: Duration,
    /// For how long a replica that failed is left alone at first. Doubles each time that it fails again. Default 1 s.
    pub failed: Duration,
    /// For how long a replica is left alone at most. Default 30 s.
    pub longest: Duration,
    /// After how long a replica has to show its epoch again. Default 10 s.
    pub recheck: Duration,
}

impl Default for ReplicaLimits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(500),
            behind: Duration::from_millis(50),
            failed: Duration::from_secs(1),
            longest: Duration::from_secs(30),
            recheck: Duration::from_secs(10),
        }
    }
}

impl ReplicaLimits {
    /// Other limits than the defaults.
    #[must_use]
    pub fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut limits = Self::default();
        change(&mut limits);
        limits
    }
}
