//! Gathers posts while a batch is being written.
