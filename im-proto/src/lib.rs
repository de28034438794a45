//! im-proto
