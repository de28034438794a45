//! The contracts of the storage and router traits, as cases that any adapter can run.
