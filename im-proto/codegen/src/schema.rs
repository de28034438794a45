//! The published contract, pinned. `schema.txt` lists every field of every message with its number and
//! its type; clients in the field were built against it.

use std::collections::BTreeSet;

use protox::prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use protox::prost_reflect::prost_types::{DescriptorProto, FieldDescriptorProto};

use crate::generate;

const PINNED: &str = include_str!("../schema.txt");

#[test]
fn no_published_field_is_changed_or_removed() {
    let current = current();
    let missing: Vec<&str> = pinned().filter(|line| !current.contains(*line)).collect();
    assert!(missing.is_empty(), "incompatible, clients rely on it:\n{}", missing.join("\n"));
}

#[test]
fn every_field_is_pinned() {
    let pinned: BTreeSet<&str> = pinned().collect();
    let unpinned: Vec<String> =
        current().into_iter().filter(|line| !pinned.contains(line.as_str())).collect();
    assert!(unpinned.is_empty(), "a compatible addition? append it to schema.txt:\n{}", unpinned.join("\n"));
}

#[test]
fn the_contract_has_no_part_that_the_table_cannot_show() {
    for file in generate::files().expect("the files are right") {
        assert!(file.enum_type.is_empty() && file.service.is_empty() && file.extension.is_empty());
        for message in file.message_type {
            assert!(message.nested_type.is_empty() && message.oneof_decl.is_empty(), "{}", message.name());
            assert!(message.enum_type.is_empty() && message.extension.is_empty(), "{}", message.name());
        }
    }
}

fn pinned() -> impl Iterator<Item = &'static str> {
    PINNED.lines().filter(|line| !line.starts_with('#'))
}

/// Lines such as `C2cPush.version = 10 int64`.
fn current() -> BTreeSet<String> {
    let files = generate::files().expect("the files are right");
    files.iter().flat_map(|file| &file.message_type).flat_map(fields).collect()
}

fn fields(message: &DescriptorProto) -> impl Iterator<Item = String> {
    message
        .field
        .iter()
        .map(|field| format!("{}.{} = {} {}", message.name(), field.name(), field.number(), kind(field)))
}

fn kind(field: &FieldDescriptorProto) -> String {
    let scalar = match field.r#type() {
        Type::Message => field.type_name().trim_start_matches(".im.v1.").to_owned(),
        other => other.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    if field.label() == Label::Repeated { format!("repeated {scalar}") } else { scalar }
}
