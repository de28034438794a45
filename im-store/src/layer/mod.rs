//! Layers: stores made of stores. They know the traits of [`im_core::storage`] alone, so each goes over any adapter.

pub mod sharding;
